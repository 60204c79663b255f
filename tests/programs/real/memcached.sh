# A server with four threads and little memory, under eight clients that check every answer.
# packages: memcached python3
# quick
program() {
  need memcached memcached
  "$@" memcached -u "$(id -un)" -l 127.0.0.1 -p "$port" -U 0 -t 4 -m 8 -o slab_reassign,slab_automove=2 >server.log 2>&1 &
  serve $! || return
  /usr/bin/python3 - "$port" <<'PYTHON'
import socket, sys, threading
port = int(sys.argv[1])
class Client:
    def __init__(self):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=30).makefile("rwb")
    def ask(self, text, body=None):
        self.stream.write(text.encode() + b"\r\n" + (b"" if body is None else body + b"\r\n"))
        self.stream.flush()
        return self.stream.readline().strip().decode()
    def get(self, key):
        line = self.ask("get " + key)
        if line == "END": return None
        body = self.stream.read(int(line.split()[3]) + 2)[:-2]
        assert self.stream.readline() == b"END\r\n"
        return body
found = [None] * 8
def work(number):
    client, wrong, stored = Client(), 0, 0
    for i in range(700):
        key, body = f"k{number}.{i % 500}", bytes([i % 256]) * (i * 37 % 9000)
        stored += client.ask(f"set {key} 0 0 {len(body)}", body) == "STORED"
        got = client.get(key)
        wrong += got is not None and got != body
        if i % 7 == 0: client.ask("delete " + key)
        if i % 5 == 0: client.ask(f"append {key} 0 0 3", b"abc")
        if i % 100 == 0: client.ask("incr sum 1")
    found[number] = (stored, wrong)
client = Client()
print(client.ask("set sum 0 0 1", b"0"))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(found)
client.ask("set number 0 0 2", b"41")
print(client.ask("incr number 1"), client.get("number"), client.ask("add number 0 0 1", b"x"), client.ask("touch number 100"))
print(client.ask("nonsense"), client.ask("flush_all"), client.get("number"))
PYTHON
  stop TERM
}
