#!/usr/bin/env bash
# In the place of AMD's clang: compiles with STAND_IN_CLANG, and keeps LLVM's intermediate form of every code object (kernels.co, as
# kernels/src/compile/clang.rs calls it), and what was said, in STAND_IN_FOLDER for whoever loads the object (backends/stand-in).
set -eu
case " $* " in
*" -S "* | *" -fsyntax-only "* | *" --version "*) exec "$STAND_IN_CLANG" "$@" ;;
esac
"$STAND_IN_CLANG" "$@" 2>said || {
  code=$?
  cat said >&2
  exit $code
}
cat said >&2
"$STAND_IN_CLANG" "$@" -S -emit-llvm -o form 2>told || {
  cat told >&2
  exit 1
}
digest=$(sha256sum kernels.co | cut -d' ' -f1)
# Others that read them see all or nothing.
for file in said:log form:ll; do
  whole=$(mktemp -p "$STAND_IN_FOLDER")
  cat "${file%:*}" >"$whole"
  mv "$whole" "$STAND_IN_FOLDER/$digest.${file#*:}"
done
