#!/usr/bin/env bash
# From a PDB file to ns/day by the model: examples/gromacs/run.sh MODEL PDB [HEAD]
#
# Classical minimisation, NVT and NPT of the solvated protein, a classical run for comparison, then the protein by the model in vacuum, 10,000
# steps of 1 fs. GMX names gmx (2025 or later), WEIR weir; NSTEPS shortens every stage. NTOMP threads of mdrun (8).
set -euo pipefail
model=$(realpath "${1:?usage: run.sh MODEL PDB [HEAD]}")
pdb=$(realpath "${2:?usage: run.sh MODEL PDB [HEAD]}")
here=$(cd "$(dirname "$0")" && pwd)
gmx=${GMX:-gmx} weir=${WEIR:-weir}
kernel=$(realpath "${PLUMED_KERNEL:?name libweir.so}")
short=(); [ -z "${NSTEPS:-}" ] || short=(-nsteps "$NSTEPS")
mkdir -p run && cd run
"$gmx" pdb2gmx -f "$pdb" -o start.gro -p topol.top -ff amber99sb-ildn -water tip3p
"$gmx" editconf -f start.gro -o boxed.gro -bt dodecahedron -d 1.0
"$gmx" solvate -cp boxed.gro -cs spc216.gro -p topol.top -o wet.gro
"$gmx" grompp -f "$here/em.mdp" -c wet.gro -p topol.top -o ions.tpr -maxwarn 1
echo SOL | "$gmx" genion -s ions.tpr -p topol.top -o ionised.gro -neutral -conc 0.15
conf=ionised.gro state=()
for stage in em nvt npt md; do
  "$gmx" grompp -f "$here/$stage.mdp" -c "$conf" -r "$conf" "${state[@]}" -p topol.top -o "$stage.tpr"
  "$gmx" mdrun -ntmpi 1 -ntomp "${NTOMP:-8}" -deffnm "$stage" "${short[@]}"
  conf=$stage.gro
  state=(); [ "$stage" = em ] || state=(-t "$stage.cpt")
done
grep Performance md.log                                  # classical, ns/day first

# The protein by the model; the rest is left out (a protein in classical water: docs/gromacs-native.md).
"$weir" gromacs prepare "$model" npt.gro --topology topol.top --select protein --vacuum ${3:+--head "$3"} --mdp "$here/md.mdp" --out by-model --force
cd by-model
sed -i 's/^continuation .*/continuation = no/' grompp.mdp
"$gmx" grompp -f grompp.mdp -c conf.gro -p topol.top -o topol.tpr
WEIR_THREADS=${WEIR_THREADS:-${NTOMP:-8}} PLUMED_KERNEL=$kernel "$gmx" mdrun -ntmpi 1 -ntomp 1 -plumed weir.dat "${short[@]}"
grep Performance md.log                                  # by the model
