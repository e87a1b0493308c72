#!/bin/sh
# Random passwords for the local cloud of compose.yaml, made once and readable by you alone.
set -eu
file=$(dirname "$0")/.env
[ -e "$file" ] && { echo "kept: $file"; exit 0; }
umask 077
for name in WAREHOUSE LAKE CACHE; do
  word=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s_PASSWORD=%s\n' "$name" "$word"
done > "$file.new"
mv "$file.new" "$file"
echo "made: $file"
