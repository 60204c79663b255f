# Problems of four theories: bit vectors, integers, arrays with quantifiers, strings.
# packages: z3
# quick
program() {
  need z3 z3
  cat >bits.smt2 <<'SMT'
(set-logic QF_BV)
(declare-const a (_ BitVec 24)) (declare-const b (_ BitVec 24))
(assert (= (bvmul a b) #x5bd1e5)) (assert (bvugt a #x000100)) (assert (bvugt b #x000100)) (assert (bvult a b))
(check-sat)
(push) (assert (not (= (bvxor a b) (bvsub (bvor a b) (bvand a b))))) (check-sat) (pop)
SMT
  {  # eight queens
    echo '(set-logic QF_LIA)'
    for i in 1 2 3 4 5 6 7 8; do echo "(declare-const q$i Int) (assert (and (<= 1 q$i) (<= q$i 8)))"; done
    for i in 1 2 3 4 5 6 7 8; do
      for ((j = i + 1; j <= 8; ++j)); do echo "(assert (distinct q$i q$j (+ q$j $((j - i))) (- q$j $((j - i)))))"; done
    done
    echo '(check-sat) (assert (= q1 3)) (assert (= q2 6)) (check-sat) (assert (= q3 5)) (check-sat)'
  } >queens.smt2
  cat >arrays.smt2 <<'SMT'
(declare-const a (Array Int Int)) (declare-const b (Array Int Int)) (declare-const n Int)
(declare-fun f (Int) Int)
(assert (forall ((i Int)) (=> (and (<= 0 i) (< i n)) (<= (select a i) (select a (+ i 1))))))
(assert (forall ((x Int)) (! (= (f (f x)) x) :pattern ((f x)))))
(assert (= b (store (store a 3 7) 4 6))) (assert (= n 10)) (assert (> (select a 3) (select a 4)))
(check-sat)
(reset)
(declare-fun f (Int) Int)
(assert (forall ((x Int) (y Int)) (! (=> (= (f x) (f y)) (= x y)) :pattern ((f x) (f y)))))
(assert (= (f 1) (f 2)))
(check-sat)
SMT
  cat >strings.smt2 <<'SMT'
(declare-const s String) (declare-const t String)
(assert (= (str.++ s "b" t) "aababba")) (assert (> (str.len s) 2))
(assert (str.in_re s (re.+ (re.union (str.to_re "aa") (str.to_re "b") (str.to_re "a")))))
(check-sat) (eval (str.len (str.++ s t)))
SMT
  local problem
  for problem in bits queens arrays strings; do "$@" z3 -T:60 "$problem.smt2" || return; done
  "$@" z3 parallel.enable=true parallel.threads.max=2 bits.smt2
}
