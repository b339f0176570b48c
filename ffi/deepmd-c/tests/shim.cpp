// The calls of a program that was written for DeePMD-kit's C++ library: MODEL on the command line, numbers on standard output.
#include <cstdio>
#include <string>
#include <vector>

#include "deepmd/DeepPot.h"

template <typename T>
static void show(const std::vector<T>& values) {
  for (T v : values) std::printf(" %.17g", static_cast<double>(v));
}

template <typename T>
static void run(deepmd::DeepPot& potential) {
  const std::vector<int> types = {1, 0, 0};
  const std::vector<T> x = {T(0.1), T(0.2), T(0.3), T(1.1), T(0.4), T(0.2), T(0.3), T(1.2), T(0.6)};
  const std::vector<T> box = {9, 0, 0, 1, 9, 0, 0, 1, 9};
  double energy = 0;
  std::vector<T> force, virial, atom_energy, atom_virial;
  // The call of the fork of GROMACS.
  potential.compute<T>(energy, force, virial, atom_energy, atom_virial, x, types, box);
  std::printf("%.17g", energy);
  show(force);
  show(virial);
  show(atom_energy);
  show(atom_virial);
  std::printf("\n");
  // Two frames.
  std::vector<T> twice(x), boxes(box);
  twice.insert(twice.end(), x.begin(), x.end());
  boxes.insert(boxes.end(), box.begin(), box.end());
  std::vector<double> energies;
  potential.compute(energies, force, virial, twice, types, boxes);
  std::printf("%.17g %.17g\n", energies.at(0), energies.at(1));
}

int main(int, char** argv) {
  deepmd::DeepPot first(argv[1], 0);
  deepmd::DeepPot potential(std::move(first));
  std::string map;
  potential.get_type_map(map);
  std::printf("%.17g %d %d %d %s\n", potential.cutoff(), potential.numb_types(), potential.dim_fparam(), potential.dim_aparam(), map.c_str());
  run<double>(potential);
  run<float>(potential);
  std::vector<double> force, virial;
  double energy = 0;
  try {
    potential.compute(energy, force, virial, std::vector<double>{0, 0, 0, 1}, std::vector<int>{0, 0}, std::vector<double>());
    return 2;
  } catch (const deepmd::deepmd_exception& e) {
    std::printf("%s\n", e.what());
  }
  try {
    deepmd::DeepPot missing("no-such-model.dp");
    return 3;
  } catch (const deepmd::deepmd_exception& e) {
    std::printf("%s\n", e.what());
  }
  return 0;
}
