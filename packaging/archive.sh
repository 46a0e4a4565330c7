#!/bin/sh
# An archive of a binary that is there, with completions, man page and licences, and its checksum.
#   packaging/archive.sh BINARY TARGET [FOLDER]
# The archive and SHA256SUMS go to FOLDER, dist unless told. The binary must run here.
set -eu
binary=$1 target=$2 out=${3:-dist}
here=$(cd "$(dirname "$0")" && pwd)
version=$("$binary" --version | sed 's/^resnet //')
name=resnet-$version-$target

mkdir -p "$out"
out=$(cd "$out" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
mkdir "$made/$name"
case $target in *windows*) exe=.exe ;; *) exe= ;; esac
cp "$binary" "$made/$name/resnet$exe"
chmod 755 "$made/$name/resnet$exe"
cp "$here"/../LICENSE-MIT "$here"/../LICENSE-APACHE "$here"/../README.md "$made/$name"
"$here/contents.sh" "$binary" "$made/$name"

cd "$made"
case $target in
  *windows*)
    archive=$name.zip
    rm -f "$out/$archive"
    7z a -bd "$out/$archive" "$name" > /dev/null
    ;;
  *)
    archive=$name.tar.gz
    # The same files give the same bytes, where tar is GNU's.
    same=
    ! tar --version 2> /dev/null | grep -q GNU || same='--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner'
    # shellcheck disable=SC2086
    COPYFILE_DISABLE=1 tar $same -cf - "$name" | gzip -9n > "$out/$archive"
    ;;
esac

cd "$out"
if command -v sha256sum > /dev/null; then sum=sha256sum; else sum='shasum -a 256'; fi
touch SHA256SUMS
grep -v "  $archive\$" SHA256SUMS > SHA256SUMS.new || true
# Some systems mark binary files by an asterisk.
$sum "$archive" | sed 's/ \*/  /' >> SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
echo "$out/$archive"
