/* Compiled as C and as C++ by header.rs: a client that computes two atoms of methane's elements in both unit systems, and meets errors. */
#include "weir.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CHECK(what) \
  if (!(what)) { \
    char why[1024]; \
    weir_last_error(p, why, sizeof why); \
    printf("line %d: %s: %s\n", __LINE__, #what, why); \
    return 1; \
  }

int main(int count, char** arguments) {
  weir_potential* p = NULL;
  char text[1024];
  if (count != 2) return 2;
  CHECK(weir_api_version() == WEIR_API_VERSION);
  p = weir_create("/nowhere/model.dp", NULL, NULL, WEIR_UNITS_METAL);
  CHECK(p == NULL);
  CHECK(weir_last_error(NULL, text, sizeof text) == strlen(text) + 1 && strstr(text, "/nowhere/model.dp"));

  p = weir_create(arguments[1], NULL, "threads=2", WEIR_UNITS_METAL);
  CHECK(p != NULL);
  CHECK(weir_type_map(p, text, 4) == 10 && strcmp(text, "H C") == 0);
  CHECK(weir_cutoff(p) == 4.5);

  double x[9] = {0.1, 0.2, 0.3, 1.1, 0.4, 0.2, 50, 50, 50};
  double box[9] = {9, 0, 0, 1, 9, 0, 0, 1, 9};
  double energy = 0, forces[9], virial[9], atomic[3];
  weir_results r = {sizeof(weir_results), &energy, forces, virial, atomic, NULL};
  CHECK(weir_compute(p, x, box, NULL, &r) == WEIR_ERROR_ARGUMENT);
  int32_t numbers[3] = {6, 1, 18}, group[2] = {0, 1};
  CHECK(weir_set_atomic_numbers(p, 3, numbers, NULL, 0) == WEIR_ERROR_ARGUMENT); /* argon is none of the model's */
  CHECK(weir_set_atomic_numbers(p, 3, numbers, group, 2) == WEIR_OK);
  CHECK(weir_compute(p, x, box, NULL, &r) == WEIR_OK);
  CHECK(fabs(forces[0] + forces[3]) < 1e-12 && forces[0] != 0 && forces[6] == 0 && atomic[2] == 0);
  CHECK(fabs(energy - atomic[0] - atomic[1]) < 1e-10);
  printf("%.15g %.15g %.15g\n", energy, forces[0], virial[0]);

  /* The same pair as a list. */
  uint64_t first[4] = {0, 1, 2, 2};
  int32_t neighbour[2] = {1, 0};
  weir_neighbours list = {3, first, neighbour, NULL};
  double again = 0;
  weir_results only = {sizeof(weir_results), &again, NULL, NULL, NULL, NULL};
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK);
  CHECK(fabs(again - energy) < 1e-12);
  /* Atoms that moved under the same list; another list, and a wrong one, at the same addresses. */
  double there = x[3], moved = 0, alone = 0;
  weir_results found = {sizeof(weir_results), &moved, NULL, NULL, NULL, NULL};
  x[3] += 0.05;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK);
  CHECK(weir_compute(p, x, box, NULL, &found) == WEIR_OK);
  CHECK(fabs(again - moved) < 1e-12 && fabs(moved - energy) > 1e-6);
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK && fabs(again - moved) < 1e-12);
  first[1] = first[2] = first[3] = 0;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK);
  alone = again;
  CHECK(fabs(alone - moved) > 1e-6);
  first[1] = 1, first[2] = first[3] = 2;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK && fabs(again - moved) < 1e-12);
  neighbour[1] = 3;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_ERROR_ARGUMENT);
  neighbour[1] = 0;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK && fabs(again - moved) < 1e-12);
  /* The other element in the middle of the list's life. */
  numbers[0] = 1, numbers[1] = 6;
  CHECK(weir_set_atomic_numbers(p, 3, numbers, group, 2) == WEIR_OK);
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK && fabs(again - moved) < 1e-12);
  numbers[0] = 6;
  CHECK(weir_set_atomic_numbers(p, 3, numbers, group, 2) == WEIR_OK);
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_OK && fabs(again - moved) > 1e-6);
  numbers[1] = 1, x[3] = there;
  CHECK(weir_set_atomic_numbers(p, 3, numbers, group, 2) == WEIR_OK);
  int32_t shift[6] = {0};
  list.shift = shift;
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_ERROR_ARGUMENT); /* shifts without a box */
  CHECK(weir_compute(p, x, box, &list, &only) == WEIR_OK && fabs(again - energy) < 1e-12);
  CHECK(weir_compute(p, x, NULL, &list, &only) == WEIR_ERROR_ARGUMENT);
  CHECK(weir_plan(p, text, sizeof text) > 1 && weir_memory(p, text, sizeof text) > 1 && strncmp(text, "hbm ", 4) == 0);
  weir_destroy(p);

  p = weir_create(arguments[1], NULL, "threads=2", WEIR_UNITS_GROMACS);
  CHECK(p != NULL);
  CHECK(fabs(weir_cutoff(p) - 0.45) < 1e-15);
  for (int k = 0; k < 9; k++) x[k] /= 10, box[k] /= 10;
  double energy2 = 0, forces2[9], virial2[9];
  weir_results r2 = {sizeof(weir_results), &energy2, forces2, virial2, NULL, NULL};
  CHECK(weir_set_atomic_numbers(p, 3, numbers, group, 2) == WEIR_OK);
  CHECK(weir_compute(p, x, box, NULL, &r2) == WEIR_OK);
  CHECK(fabs(energy2 - 96.48533212 * energy) < 1e-9 * fabs(energy2));
  CHECK(fabs(forces2[0] - 964.8533212 * forces[0]) < 1e-9 * fabs(forces2[0]));
  CHECK(fabs(virial2[0] - 96.48533212 * virial[0]) < 1e-9 * fabs(virial2[0]));
  weir_destroy(p);
  weir_destroy(NULL);
  p = NULL;
  return 0;
}
