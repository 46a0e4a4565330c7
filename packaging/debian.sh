#!/bin/sh
# A Debian package of target/release/resnet, which is built before or is there already. Needs cargo-deb.
#   packaging/debian.sh 'NAME <ADDRESS>' [FOLDER]
# The name is that of who makes the package and answers for it.
set -eu
maintainer=$1 out=${2:-dist}
cd "$(dirname "$0")/.."
[ -x target/release/resnet ] || {
  echo 'target/release/resnet is not there: cargo build --release --locked -p resnet-cli' >&2
  exit 1
}
mkdir -p "$out"
packaging/contents.sh target/release/resnet target/packaging
cargo deb --no-build -p resnet-cli --maintainer "$maintainer" --output "$out/"
