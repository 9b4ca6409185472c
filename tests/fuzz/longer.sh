#!/bin/sh
# Fuzzes one target, guided by coverage: tests/fuzz/longer.sh TARGET [SECONDS]
# Needs a stable Rust toolchain and a C++ compiler. The corpus that it finds is kept below
# target/fuzz, and the next run continues from it. Crashes are stored with the target, as regression tests.
set -eu

target=$1
seconds=${2:-600}
cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')

# Counts every edge and traces every comparison, for libFuzzer.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# With --target given, build scripts are built without these flags.
cargo build --release --manifest-path tests/fuzz/coverage/Cargo.toml \
    --target "$host" --target-dir target/fuzz

learnt=target/fuzz/corpus/$target
seeds=tests/fuzz/$target/corpus
crashes=tests/fuzz/$target/crashes
mkdir -p "$learnt" "$crashes"
FUZZ_TARGET=$target exec "target/fuzz/$host/release/fuzz" "$learnt" "$seeds" "$crashes" \
    -artifact_prefix="$crashes/" -dict=tests/fuzz/words.dict \
    -max_total_time="$seconds" -max_len=2048 -timeout=10 -print_final_stats=1
