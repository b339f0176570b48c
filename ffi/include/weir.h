/* Weir: DPA3 interatomic potentials. C interface, version 2.
 *
 * A potential is a model behind a handle. Set a system once, then compute as often as positions change.
 *
 *     weir_potential* p = weir_create("model.dp", NULL, "threads=8", WEIR_UNITS_METAL);
 *     if (!p) { char why[1024]; weir_last_error(NULL, why, sizeof why); ... }
 *     weir_set_atomic_numbers(p, n, numbers, NULL, 0);
 *     weir_results r = { sizeof r, &energy, forces, virial, NULL, NULL };
 *     if (weir_compute(p, positions, box, NULL, &r) != WEIR_OK) ...
 *
 * Handles are independent of each other. Calls for one handle from several threads wait for each other.
 * A call never ends the process and never throws; after an error the handle can be used again.
 * Where a potential computes is said by WEIR_BACKEND and WEIR_DEVICE, or by options of the same names: the first GPU that is visible, else the
 * CPU. All pointers are to host memory, but those that weir_compute_device says are not.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when something is added; nothing is taken away or changes its meaning within a shared library name. */
#define WEIR_API_VERSION 2

/* What functions return. */
#define WEIR_OK 0
#define WEIR_ERROR_ARGUMENT 1    /* null, out of range, counts that do not fit */
#define WEIR_ERROR_MODEL 2       /* the model file */
#define WEIR_ERROR_SETTING 3     /* a variable, an option, the configuration file */
#define WEIR_ERROR_COMPUTE 4     /* the step: positions, memory, results that are no numbers */
#define WEIR_ERROR_UNSUPPORTED 5 /* not in this version */
#define WEIR_ERROR_INTERNAL 6    /* a fault of ours; please report it */

/* Units of everything that goes in and comes out. 1 eV = 96.48533212 kJ/mol. */
#define WEIR_UNITS_METAL 0   /* A, eV, eV/A */
#define WEIR_UNITS_GROMACS 1 /* nm, kJ/mol, kJ/mol/nm */

typedef struct weir_potential weir_potential;

/* Version of the interface that the library has, and of Weir ("0.1.0"; do not free). */
int weir_api_version(void);
const char* weir_version(void);

/* Reads a model (.dp, .pt, .pth, .pt2, .yaml, .weir).
 *
 * head     branch of a multi-task model; NULL: WEIR_HEAD, else the model's only one
 * options  "name=value" pairs separated by blanks or semicolons, named like the environment variables with or without WEIR_
 *          ("threads=8 hbm_budget=60GiB placement=hbm,file"); what is not said here is taken from the environment, then from the file that
 *          WEIR_CONFIG names; NULL: nothing
 * units    WEIR_UNITS_METAL or WEIR_UNITS_GROMACS
 *
 * Returns NULL where it fails; weir_last_error(NULL, ...) says why. A GPU that is visible and cannot be used is such a failure: WEIR_BACKEND=cpu
 * computes without it. Inside an MD code 2 GiB of the device's memory stay free for it. Unknown WEIR_ variables are told once on standard
 * error. */
weir_potential* weir_create(const char* path, const char* head, const char* options, int units);

/* As weir_create, from the bytes of a model file (copied); name stands in messages. */
weir_potential* weir_create_from_bytes(const void* bytes, size_t size, const char* name, const char* head, const char* options,
                                       int units);

/* Frees everything; NULL is harmless. */
void weir_destroy(weir_potential* p);

/* Says what the atoms are: their number and, for each, the index of its type in the model (weir_type_map; negative: the model does not see it),
 * or its atomic number (0: the model does not see it). All later arrays have a row for each of these atoms.
 *
 * group    indices of the atoms that the model sees, each once; the others have no energy and no force. NULL: all
 *
 * Forgets what weir_set_parameters said. */
int weir_set_types(weir_potential* p, size_t atoms, const int32_t* types, const int32_t* group, size_t group_size);
int weir_set_atomic_numbers(weir_potential* p, size_t atoms, const int32_t* numbers, const int32_t* group, size_t group_size);

/* Inputs that some models take beside positions; NULL where there are none. fparam: the model's number of values. aparam: a row for every atom of
 * the system. charge_spin: two numbers. They hold until the next system is set. */
int weir_set_parameters(weir_potential* p, const double* fparam, size_t fparam_count, const double* aparam, size_t aparam_count,
                        const double* charge_spin);

/* A full neighbour list: every pair within weir_cutoff in both directions; farther pairs are passed over. */
typedef struct weir_neighbours {
  size_t atoms;             /* of the system */
  const uint64_t* first;    /* atoms + 1: where the neighbours of each atom begin in the next arrays; never goes down */
  const int32_t* neighbour; /* index of an atom; NULL where there are no pairs */
  const int32_t* shift;     /* three numbers a pair: multiples of the box vectors, to be added to the neighbour's position; NULL: all zero */
} weir_neighbours;

/* Where results go; any pointer may be NULL, and what is not asked for is not computed where that saves work (atomic virials cost three more
 * passes). */
typedef struct weir_results {
  size_t struct_size;    /* sizeof(weir_results) */
  double* energy;        /* 1 */
  double* forces;        /* 3 an atom */
  double* virial;        /* 9, row-major: sum of r_i (x) F_i, positive where atoms repel; stress = -virial / volume */
  double* atomic_energy; /* 1 an atom */
  double* atomic_virial; /* 9 an atom; their sum is the virial */
} weir_results;

/* Energy, forces and virial of the system.
 *
 * positions   3 an atom; they may lie outside the box
 * box         9 numbers, rows are the box vectors, any handedness; NULL: an isolated system
 * neighbours  NULL: Weir finds neighbours itself, and keeps its list from step to step. A given list is read during the call only; one that
 *             says the same as in the call before (a list with a skin, between two searches) is not taken over again. */
int weir_compute(weir_potential* p, const double* positions, const double* box, const weir_neighbours* neighbours, weir_results* results);

/* Since version 2. As weir_compute, with positions and forces in the memory of the device that the handle computes on (weir_device); neighbours
 * are found by Weir. Everything that writes positions or still uses forces on a stream of the caller must be done; the step is over when this
 * returns. Best with the same addresses every time: a recorded step serves them.
 *
 * positions   on the device: 3 doubles an atom, A
 * box         on the host: 9 numbers, or NULL
 * forces      on the device, apart from the positions: 3 doubles an atom, eV/A; of no use after an error
 * energy      on the host: 1 number, eV, or NULL
 * virial      on the host: 9 numbers, eV, or NULL
 *
 * WEIR_ERROR_UNSUPPORTED where the handle computes on the CPU or has other units than WEIR_UNITS_METAL, and for a system with a group or with
 * atoms that the model does not see. */
int weir_compute_device(weir_potential* p, const double* positions, const double* box, double* forces, double* energy, double* virial);

/* Since version 2. Number of the device that the handle computes on, as its driver counts; -1 on the CPU, and for NULL. */
int weir_device(const weir_potential* p);

/* Cutoff of the neighbour search in units of the handle; 0 for NULL. */
double weir_cutoff(const weir_potential* p);

/* Texts. Each writes as much as fits into size bytes, always ending with a zero byte, and returns the number of bytes that all of it needs, the
 * zero byte included; out may be NULL to ask for that number.
 *
 * weir_last_error  why the last failing call for this handle failed; with p = NULL, why this thread's last creation failed
 * weir_type_map    names of the types in order, separated by blanks
 * weir_summary     model, settings and memory
 * weir_plan        what the planner chose; empty before the first step
 * weir_memory      largest number of bytes held so far: a line "tier bytes" for each
 * weir_backend     what computes: cpu, cuda, hip or emulated (since version 2) */
size_t weir_last_error(const weir_potential* p, char* out, size_t size);
size_t weir_type_map(const weir_potential* p, char* out, size_t size);
size_t weir_summary(const weir_potential* p, char* out, size_t size);
size_t weir_plan(const weir_potential* p, char* out, size_t size);
size_t weir_memory(const weir_potential* p, char* out, size_t size);
size_t weir_backend(const weir_potential* p, char* out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
