#!/usr/bin/env python3
"""Adds Weir's NNPot backend to a GROMACS source tree (2025, 2026, main of August 2026), or takes it out again.

    python3 add_to_gromacs.py TREE              # add; doing it again brings it up to date
    python3 add_to_gromacs.py --check TREE      # say what is there, change nothing
    python3 add_to_gromacs.py --reverse TREE    # take everything out: the tree is as before, byte for byte

Eight files of Weir are copied beside GROMACS' NNPot sources, and a few lines of Weir's own are put at known places of four GROMACS files, each
between marks. All places are looked for before anything is written: a tree where one is missing or there twice is left alone.
"""
import argparse
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NNPOT = "src/gromacs/applied_forces/nnpot"
COPIED = {
    "weirfarpairs.h": HERE / "weirfarpairs.h",
    "weirfarpairs.cpp": HERE / "weirfarpairs.cpp",
    "weirlibrary.h": HERE / "weirlibrary.h",
    "weirlibrary.cpp": HERE / "weirlibrary.cpp",
    "weirmodel.h": HERE / "weirmodel.h",
    "weirmodel.cpp": HERE / "weirmodel.cpp",
    "weir.h": HERE.parent / "include/weir.h",
}
INTERFACE = "weirinterface.h"
BEGIN, END = "begin of Weir's lines (add_to_gromacs.py)", "end of Weir's lines"
BLOCK = re.compile(r"^[^\n]*" + re.escape(BEGIN) + r"\n.*?^[^\n]*" + re.escape(END) + r"\n", re.MULTILINE | re.DOTALL)

# How INNPotModel tells its form: 2025.x, 2026.x, main after 2026.
FORMS = {
    2025: "virtual void prepareAtomPositions(std::vector<RVec>&)",
    2026: "matrix* /* box */",
    2027: "matrix& /* box */",
}


class Unknown(Exception):
    """A tree that this script does not know."""


def edits(form):
    """Triples (file, anchor, lines) of a form: the lines go before the anchor, or after it where they begin with '+'."""
    provider, options = f"{NNPOT}/nnpotforceprovider.cpp", f"{NNPOT}/nnpotoptions.cpp"
    group, atoms, rows = ("inpIndices_", "inpAtoms_", "idxLookup_") if form == 2025 else ("nnpIndices_", "nnpAtoms_", "inputToLocalIndex_")
    arguments = "logger_, params_.cr_" if form == 2025 else "params_.embeddingScheme_, logger_, mpiComm_"
    electrostatic = "false" if form == 2025 else "params_.embeddingScheme_ == NNPotEmbedding::ElectrostaticModel"
    check = f"""    if (weirTakesModel(params_.modelFileName_))
    {{
        weirCheckModel(params_.modelFileName_,
                       params_.{group},
                       *top,
                       {electrostatic},
                       {"false" if form == 2025 else "!params_.linkFrontier_.empty()"},
                       {'""' if form == 2025 else "params_.linkType_"},
                       *logger_);
    }}
"""
    out = [
        (f"{NNPOT}/CMakeLists.txt", "if (GMX_TORCH)\n", "gmx_add_libgromacs_sources(\n    weirfarpairs.cpp\n    weirlibrary.cpp\n    weirmodel.cpp\n)\n"),
        (
            f"{NNPOT}/CMakeLists.txt",
            "else()\n    gmx_add_libgromacs_sources(\n        nnpotforceprovider_stub.cpp\n",
            "elseif(TRUE) # Weir needs the real force provider, not the stub\n    gmx_add_libgromacs_sources(\n        nnpotforceprovider.cpp\n    )\n",
        ),
        (provider, '#include "torchmodel.h"\n', '#include "weirmodel.h"\n#if GMX_TORCH\n'),
        (provider, '#include "torchmodel.h"\n', "+#endif\n"),
        (
            provider,
            '    else if (modelPath.extension() == ".pt")\n',
            f"""    else if (weirTakesModel(params_.modelFileName_))
    {{
        model_ = std::make_shared<WeirModel>(params_.modelFileName_, {arguments});
    }}
#if GMX_TORCH
""",
        ),
        (provider, '    else\n    {\n        GMX_THROW(FileIOError("Unrecognized extension', "#endif\n"),
        (provider, "    model_->evaluateModel(", f"    WeirModel::passStep(model_.get(), fOutput, fInput.chargeA_, {rows}, params_.atoms_, params_.{atoms}->globalIndex());\n"),
        (options, '#include "gromacs/utility/stringutil.h"\n', '+#include "weirmodel.h"\n'),
        (
            options,
            "    checkNNPotModel();\n",
            "    // modifyTopology() has checked it.\n    if (weirTakesModel(params_.modelFileName_))\n    {\n        return;\n    }\n",
        ),
        (
            options,
            "void NNPotOptions::readParamsFromKvt(const KeyValueTreeObject& tree)\n{\n",
            "+    if (params_.active_ && weirTakesModel(params_.modelFileName_))\n    {\n        weirCompleteInputs(&params_.modelInput_);\n    }\n",
        ),
        (
            "src/gromacs/mdrun/runner.cpp",
            '#include "runner.h"\n',
            '+#include "gromacs/applied_forces/nnpot/weirfarpairs.h"\n#include "gromacs/applied_forces/nnpot/weirlibrary.h"\n#include "gromacs/nbnxm/nbnxm.h"\n',
        ),
        (
            "src/gromacs/mdrun/runner.cpp",
            "        // Dirty hack, for fixing disres and orires should be made mdmodules\n",
            # The pair list is made later. With dynamic pruning kernels run on the inner one, without it that has the outer one's radius.
            "        gmx::weirSetInteractions(fr->ic.get(),\n"
            "                                 [forcerec = &*fr, outer = inputrec->rlist]() -> real\n"
            "                                 { return forcerec->nbv ? forcerec->nbv->pairlistInnerRadius() : outer; });\n",
        ),
    ]
    release = " " * (12 if form == 2025 else 16) + "releaseDevice();\n"
    out.append(("src/gromacs/mdrun/runner.cpp", release, "            // Weir's device memory is freed later than this.\n            if (!weir::mayHoldDevice())\n"))
    if form == 2025:
        out.append((options, "    NNPotTopologyPreprocessor topPrep(params_.inpIndices_);\n", check))
    else:
        box = ("box_", "positions_") if form == 2026 else ("box", "positions")
        out += [
            (options, "            top, params_.nnpIndices_, params_.embeddingScheme_, params_.nnpCharge_, *logger_, wi_);\n", "+" + check),
            (
                provider,
                "    // get link atom info\n",
                f"    weirMakeLinksWhole(params_.linkFrontier_, inputToGlobalIndex_, {box[1]}, {box[0]}, *params_.pbcType_, params_.modelFileName_);\n",
            ),
            (
                provider,
                "        LinkFrontierAtom link(globalIdxNNP, globalIdxMM);\n",
                "+        if (weirTakesModel(params_.modelFileName_))\n        {\n            link.setLinkDistance(ilink.linkDistance());\n        }\n",
            ),
        ]
    return out


def read(path):
    return path.read_bytes().decode("utf-8")


def strip(text):
    """The text without our blocks."""
    return BLOCK.sub("", text)


def block(name, lines):
    mark = "#" if name.endswith("CMakeLists.txt") else "//"
    return f"{mark} {BEGIN}\n{lines}{mark} {END}\n"


def insert(name, text, anchor, lines):
    found = text.count(anchor)
    if found != 1:
        raise Unknown(f"{name}: the line {anchor.strip().splitlines()[-1].strip()!r} is there {found} times, not once")
    at = text.index(anchor)
    if lines.startswith("+"):
        at, lines = at + len(anchor), lines[1:]
    elif at and text[at - 1] != "\n":
        raise Unknown(f"{name}: {anchor.strip()!r} does not begin a line")
    return text[:at] + block(name, lines) + text[at:]


def form_of(tree):
    name = f"{NNPOT}/nnpotmodel.h"
    path = tree / name
    if not path.is_file():
        raise Unknown(f"{name} is not there: not a GROMACS source tree of 2025 or later")
    text = read(path)
    forms = [form for form, mark in FORMS.items() if mark in text]
    if len(forms) != 1:
        raise Unknown(f"{name}: INNPotModel has a form that this script does not know")
    return forms[0]


def patched(tree, form):
    """Name -> text of every edited file, with our lines."""
    texts = {}
    for name, anchor, lines in edits(form):
        if name not in texts:
            path = tree / name
            if not path.is_file():
                raise Unknown(f"{name} is not there")
            texts[name] = strip(read(path))
        texts[name] = insert(name, texts[name], anchor, lines)
    return texts


def copies(form):
    out = {f"{NNPOT}/{name}": read(path) for name, path in COPIED.items()}
    out[f"{NNPOT}/{INTERFACE}"] = (
        "/* Written by Weir's add_to_gromacs.py. */\n#ifndef GMX_WEIR_INTERFACE\n"
        f"/* Form of INNPotModel: 2025 (2025.x), 2026 (2026.x), 2027 (main). */\n#define GMX_WEIR_INTERFACE {form}\n#endif\n"
    )
    return out


def write(path, text):
    """The whole file or nothing; an unchanged one keeps its time, so that nothing is compiled anew."""
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return False
    beside = path.with_name(path.name + ".weir-new")
    beside.write_bytes(text.encode("utf-8"))
    if path.is_file():
        os.chmod(beside, path.stat().st_mode & 0o7777)
    os.replace(beside, path)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--reverse", action="store_true", help="take the backend out")
    what.add_argument("--check", action="store_true", help="change nothing; exit code 1 where it is not (wholly) there")
    parser.add_argument("tree", type=Path, help="root of a GROMACS source tree")
    args = parser.parse_args()
    try:
        form = form_of(args.tree)
        names = {name for name, _, _ in edits(form)}
        if args.reverse:
            changed = [n for n in names if (args.tree / n).is_file() and write(args.tree / n, strip(read(args.tree / n)))]
            for name in copies(form):
                if (args.tree / name).is_file():
                    (args.tree / name).unlink()
                    changed.append(name)
            print(f"{args.tree}: " + (f"Weir's backend taken out of {len(changed)} files" if changed else "Weir's backend was not there"))
            return 0
        wanted = {**patched(args.tree, form), **copies(form)}
        if args.check:
            missing = [n for n, text in wanted.items() if not (args.tree / n).is_file() or read(args.tree / n) != text]
            print(f"{args.tree}: interface {form}; " + (f"not up to date: {', '.join(sorted(missing))}" if missing else "Weir's backend is there"))
            return 1 if missing else 0
        # Copies first: a build that starts in between must not miss a file.
        changed = [n for n in sorted(wanted, key=lambda n: n in names) if write(args.tree / n, wanted[n])]
        done = "added to" if changed else "was there already in"
        print(f"{args.tree}: interface {form}; Weir's backend {done} {len(wanted)} files ({len(changed)} changed)")
        return 0
    except (Unknown, UnicodeDecodeError, OSError) as e:
        print(f"add_to_gromacs: {e}. Nothing was changed." if isinstance(e, Unknown) else f"add_to_gromacs: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
