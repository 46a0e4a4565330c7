#!/bin/sh
# What goes beside the binary in every package, made by the binary itself: completions and a man page.
#   packaging/contents.sh BINARY FOLDER
set -eu
binary=$1 folder=$2
mkdir -p "$folder/completions"
"$binary" completions bash > "$folder/completions/resnet.bash"
"$binary" completions zsh > "$folder/completions/_resnet"
"$binary" completions fish > "$folder/completions/resnet.fish"
"$binary" completions powershell > "$folder/completions/_resnet.ps1"

# Help as it is: a line that begins with a dot or a quote would be taken for a request.
verbatim() {
  echo .nf
  sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^[.']/\\\\\\&&/"
  echo .fi
}
export COLUMNS=78
help=$("$binary" --help)
{
  printf '.TH RESNET 1 "" "%s" "User Commands"\n' "$("$binary" --version)"
  printf '.SH NAME\nresnet \\- residual networks, trained on your own pictures\n'
  printf '.SH SYNOPSIS\n.B resnet\n.I COMMAND\n[\n.I ARGUMENTS\n]\n.SH DESCRIPTION\n'
  printf '%s\n' "$help" | verbatim
  echo .SH COMMANDS
  printf '%s\n' "$help" | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' |
    while read -r verb; do
      [ "$verb" != help ] || continue
      printf '.SS resnet %s\n' "$verb" | sed 's/-/\\-/g'
      "$binary" "$verb" --help | verbatim
    done
} > "$folder/resnet.1"
