/* arenascan: a heap that knows which of its objects nobody can reach any more.
 *
 * Link the library or preload it; malloc and operator new are then arenascan's, every thread can ask for a scan at any
 * time, and the program is scanned when it exits (README.md). All functions below may be called from any thread, at any
 * time, concurrently, except from a signal handler. None of them changes errno unless its description says so.
 *
 * The annotations (arena_not_leak, arena_ignore, arena_no_scan) have the names and meanings of kmemleak's.
 */
#ifndef ARENASCAN_ARENA_H
#define ARENASCAN_ARENA_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

#ifdef __cplusplus
extern "C" {
#endif

struct arena_count {
  uint64_t objects;
  uint64_t bytes; /* as requested by the program */
};

enum arena_phase {
  ARENA_PHASE_MARK = 0,     /* objects are found from the roots */
  ARENA_PHASE_REREAD = 1,   /* ... read again, because the program went on meanwhile */
  ARENA_PHASE_CLASSIFY = 2, /* what was not reached is looked at */
};

/* How far a scan is. */
struct arena_progress {
  int phase;                  /* enum arena_phase */
  struct arena_count reached; /* objects found so far */
  uint64_t elapsed_ns;        /* since the scan began */
};

/* What a scan should do. Set `size` to sizeof(struct arena_scan_options) and everything else to 0 for the defaults,
 * which are the process's options. */
struct arena_scan_options {
  size_t size;
  uint32_t born_since; /* only objects allocated since this arena_mark() are counted as leaks; 0: all. A mark is good
                          for the next 32,767 marks and scans; an older one counts as 0 */
  uint32_t
      second_look_ms;   /* pause before orphans seen for the first time are looked at again; 0: the process's option */
  uint32_t stop;        /* 1: mark while the program stands still, also where it could go on */
  uint32_t cpu_percent; /* of one processor, the most that a mark beside the program may use, 1 to 99; 0: all of it */
  uint32_t markers; /* threads that may mark a large heap together, 1 to 8; 0: the process's option. With cpu_percent,
                       one */

  /* Called now and then, each few milliseconds of a mark beside the program and between the phases of any other, by the
   * thread that scans. Returns 0 to go on, anything else to cancel: the scan is incomplete then. Other threads run; it
   * may allocate and take locks, but must not scan, fork, throw, or wait for somebody who does. Null: nobody is told.
   */
  int (*progress)(const struct arena_progress* progress, void* argument);
  void* progress_argument;
};

enum arena_incomplete {
  ARENA_COMPLETE = 0,
  ARENA_INCOMPLETE_NO_MEMORY = 1,          /* the scanner's own memory ran out */
  ARENA_INCOMPLETE_THREAD_NOT_STOPPED = 2, /* a thread did not answer in time: incomplete_thread */
  ARENA_INCOMPLETE_SIGNAL_TAKEN = 3,       /* the program took over the signal that stops threads */
  ARENA_INCOMPLETE_MAPS_UNREADABLE = 4,    /* /proc/self could not be read */
  ARENA_INCOMPLETE_CANCELLED = 5,          /* by arena_scan_options.progress */
  ARENA_INCOMPLETE_CLOSED_MEMORY = 6,      /* what the program has made inaccessible could not be read */
};

/* What a scan found. All counts are of the instant at which the world stood still. */
struct arena_scan_result {
  size_t size;                /* set by the caller: sizeof(struct arena_scan_result) */
  int incomplete;             /* enum arena_incomplete; unless ARENA_COMPLETE no leak is claimed */
  int incomplete_thread;      /* kernel thread id */
  const char* incomplete_why; /* a static text; empty when complete */

  struct arena_count seen;       /* allocated */
  struct arena_count reached;    /* from the roots; by a concurrent mark, at some time during the mark */
  struct arena_count orphans;    /* not reached */
  struct arena_count changed;    /* orphans still written to, and what they hold: not leaks */
  struct arena_count suppressed; /* leaks that a suppression covers, and what they hold */
  struct arena_count leaked;     /* direct and indirect */
  struct arena_count direct;     /* no other leaked object points to them */
  struct arena_count indirect;
  struct arena_count fresh;     /* leaks that the scan before did not know */
  struct arena_count recovered; /* leaks of the scan before that are none now: freed, or reached again: by a pointer
                                   that the program has kept in a form that is not looked for, or by an old word on a
                                   stack that has grown over it again */

  int concurrent;  /* marked beside the running program (1), or while it stood still (0) */
  const char* way; /* the same and the reason, a static text */
  unsigned pauses; /* how often the other threads were stopped */

  uint64_t root_bytes; /* read as roots */
  unsigned threads;    /* stopped, the calling one not counted */
  unsigned markers;    /* marked together, for some time at least */

  uint64_t prepare_ns;       /* listing modules, stopping threads */
  uint64_t mark_ns;          /* finding roots, marking from them */
  uint64_t white_ns;         /* finding the objects that were not reached */
  uint64_t classify_ns;      /* checksums, second look, grouping */
  uint64_t longest_pause_ns; /* other threads stood still */
  uint64_t total_pause_ns;
  uint64_t total_ns;
};

/* Scans now. Returns the number of leaked objects, 0 when there are none or the scan was incomplete. Prints nothing. */
size_t arena_scan(void);

/* The same with settings (null: defaults) and all figures (null: not wanted). Returns 0; or -1 with errno EINVAL when a
 * `size` is none of a version of this library. */
int arena_scan_ex(const struct arena_scan_options* options, struct arena_scan_result* result);

/* Writes the last scan's report to `fd`. Formats: "text". Returns 0; or -1 with errno EINVAL (format), ENOENT (no scan
 * yet) or what write gave. */
int arena_report(int fd, const char* format);

/* Writes to `fd` all that is known of the object that `p` points to or into: size, age, annotations, what the last scan
 * made of it, its call stack. Returns 0; or -1 with errno EINVAL when there is no such object, EBUSY inside a progress
 * callback, or what write gave. */
int arena_dump(const void* p, int fd);

/* Writes to `fd` why that object is reached: a shortest way of pointers from a root to it, with the call stacks of all
 * objects on the way; or that there is none, and who points to it nevertheless. The stack and the registers of the
 * calling thread, which hold `p`, count only where nothing else leads to it. The other threads stand still meanwhile,
 * for as long as a look at all objects takes. Returns as arena_dump does; and -1 with errno EAGAIN when it cannot be
 * told, after a line that says why. */
int arena_retainers(const void* p, int fd);

/* Overwrites what earlier calls have left on the calling thread's stack below the caller's frame. The scan never looks
 * there; but a function that is called later, with a variable that it has not set yet, has one of those old words in
 * its frame, where the scan does look, and a lost object may not be reported for it. For tests that lose an object on
 * purpose: lose it in a function of its own, call this, scan. Registers that a function keeps for its caller can hold
 * old pointers as well, and nothing clears those but further work. Does nothing on a fiber or a signal stack. */
void arena_scrub_stack(void);

/* What the last scan has found leaked is never reported from now on, and what it holds counts as reached: as if each of
 * these objects were given to arena_not_leak. Returns 0; or -1 with errno EBUSY inside a progress callback. */
int arena_clear(void);

/* A point in time for arena_scan_options.born_since. */
uint32_t arena_mark(void);

/* The object that `p` points to or into is never reported, and what it points to counts as reached. Returns 0, or -1
 * with errno EINVAL when `p` points into no allocated object. So do the next two. */
int arena_not_leak(const void* p);

/* The object is never reported, and its contents are not read. */
int arena_ignore(const void* p);

/* The contents of the object are not read; it is reported when it is lost. For large buffers without pointers. */
int arena_no_scan(const void* p);

/* A range that is scanned as a root from now on: of any memory, shared, a file's, or closed (PROT_NONE) at the time of
 * a scan, too; what of it is not mapped then is left out. Ranges count by (p, size): added twice, they are removed
 * twice. Return 0; or -1 with errno EINVAL (add: the range goes beyond the end of memory), ENOMEM (add) or ENOENT
 * (remove: never added). */
int arena_add_root(const void* p, size_t size);
int arena_remove_root(const void* p, size_t size);

/* What the calling thread allocates between them is never a leak. Nestable. arena_enable without arena_disable aborts.
 */
void arena_disable(void);
void arena_enable(void);

/* A private heap: its only roots are the ranges registered with it. No stacks, no registers, no other threads are
 * looked at, so a scan is exact. One thread at a time may use a heap; different heaps are independent. */
typedef struct arena_heap arena_heap;

/* A heap of at most `max_bytes` (0: 16 GiB of address space). Null with errno ENOMEM. */
arena_heap* arena_heap_create(size_t max_bytes);

/* Frees the heap and everything in it. */
void arena_heap_destroy(arena_heap* heap);

/* `size` bytes aligned to 16, or null with errno ENOMEM. */
void* arena_heap_alloc(arena_heap* heap, size_t size);

/* Frees what arena_heap_alloc returned; null is ignored, anything else aborts with a message. */
void arena_heap_free(arena_heap* heap, void* p);

/* Registers a range as a root of the heap. It must stay readable until it is removed: a scan of a private heap asks the
 * kernel nothing, so as to be cheap. Returns 0, or -1 with errno EINVAL (beyond the end of memory) or ENOMEM. */
int arena_heap_add_root(arena_heap* heap, const void* p, size_t size);

/* Takes one registration back. Returns 0, or -1 with errno ENOENT. */
int arena_heap_remove_root(arena_heap* heap, const void* p, size_t size);

/* Scans the heap; `result` may be null. Returns the number of leaked objects. */
size_t arena_heap_scan(arena_heap* heap, struct arena_scan_result* result);

/* Options that the program brings along, in the form of ARENASCAN_OPTIONS, which overrides them. The program defines
 * it. */
const char* arena_default_options(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#pragma GCC visibility pop

#endif /* ARENASCAN_ARENA_H */
