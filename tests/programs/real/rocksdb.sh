# Its own benchmark: random writes with flushes and compactions by background threads, reads, checksums.
# packages: rocksdb-tools
program() {
  need db_bench rocksdb-tools
  # Figures differ from run to run; how many keys are found does not.
  "$@" db_bench --benchmarks=fillrandom,readrandom,readseq,overwrite,compact,multireadrandom,verifychecksum,deleterandom,readmissing \
    --db="$PWD/db" --seed=1 --num=60000 --threads=1 --value_size=100 --write_buffer_size=1048576 --max_background_jobs=2 \
    --cache_size=2097152 --bloom_bits=10 --compression_type=snappy >log 2>&1
  local status=$?
  grep -Eo '^[a-z]+ +:|\([0-9]+ of [0-9]+ found\)' log
  [ "$status" -eq 0 ] || cat log
  return $status
}
