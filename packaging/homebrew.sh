#!/bin/sh
# A Homebrew formula of archives that packaging/archive.sh has made.
#   packaging/homebrew.sh ADDRESS [FOLDER]
# ADDRESS is the folder of the archives where they are published; FOLDER, dist unless told, holds
# SHA256SUMS, and resnet.rb is written there.
set -eu
address=${1%/} out=${2:-dist}
here=$(cd "$(dirname "$0")" && pwd)
sums=$out/SHA256SUMS

version=$(sed -n 's/.*  resnet-\(.*\)-aarch64-apple-darwin\.tar\.gz$/\1/p' "$sums")
formula=$(sed -e "s|@ADDRESS@|$address|g" -e "s|@VERSION@|$version|g" "$here/resnet.rb.in")
for target in aarch64-apple-darwin x86_64-apple-darwin aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu; do
  sum=$(sed -n "s/^\([0-9a-f]\{64\}\)  resnet-$version-$target\.tar\.gz\$/\1/p" "$sums")
  [ -n "$sum" ] || { echo "$sums has no archive for $target, which the formula names" >&2; exit 1; }
  formula=$(printf '%s\n' "$formula" | sed "s|@SHA256_$target@|$sum|")
done
printf '%s\n' "$formula" > "$out/resnet.rb"
echo "$out/resnet.rb"
