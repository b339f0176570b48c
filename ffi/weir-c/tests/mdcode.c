/* What GROMACS does with a PLUMED kernel, in its order: mdcode LIBRARY table|plain FILE [setup|ranks]
 * Two atoms of a rectangular box, in single precision. Prints energy-free what came back: forces and virial of two steps. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  void* ptr;
  void (*handler)(void*, int, const char*, const void*);
} nothrow;

typedef struct {
  int version;
  void* (*create)(void);
  void (*cmd)(void*, const char*, const void*);
  void (*finalize)(void*);
  void (*cmd_nothrow)(void*, const char*, const void*, nothrow);
} symbols;

static const symbols* table;
static void (*plain)(void*, const char*, const void*);
static int failed;

static void tell(void* ptr, int code, const char* text, const void* opt) {
  printf("error %d at %s: %s\n", code, (const char*)ptr, text);
  failed = code != 0 && opt == NULL;
}

static int cmd(void* object, const char* key, const void* value) {
  if (table) {
    nothrow n;
    n.ptr = (void*)key;
    n.handler = tell;
    table->cmd_nothrow(object, key, value, n);
  } else {
    plain(object, key, value);
  }
  return failed;
}

#define CMD(key, value)            \
  if (cmd(object, key, value)) {   \
    finalize(object);              \
    return 3;                      \
  }

int main(int argc, char** argv) {
  void *library, *object, *(*create)(void);
  void (*finalize)(void*);
  int four = 4, natoms = 2, version = 0, stop = 0, yes = 1, k;
  float one = 1.0f, kbt = 2.5f, dt = 0.0005f;
  float x[6] = {0.01f, 0.02f, 0.03f, 0.11f, 0.04f, 0.02f};
  float box[9] = {0.9f, 0, 0, 0, 0.9f, 0, 0, 0, 0.9f};
  float mass[2] = {16.0f, 1.0f}, charge[2] = {0, 0};
  long step;
  if (argc < 4 || !(library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL))) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  if (!strcmp(argv[2], "table")) {
    table = (const symbols*)dlsym(library, "plumed_symbol_table");
    if (!table || table->version != 2) return 2;
    create = table->create;
    finalize = table->finalize;
  } else {
    *(void**)&create = dlsym(library, "plumed_plumedmain_create");
    *(void**)&plain = dlsym(library, "plumed_plumedmain_cmd");
    *(void**)&finalize = dlsym(library, "plumed_plumedmain_finalize");
  }
  object = create();
  CMD("setRealPrecision", &four)
  CMD("setMDEnergyUnits", &one)
  CMD("setMDLengthUnits", &one)
  CMD("setMDTimeUnits", &one)
  CMD("setPlumedDat", argv[3])
  CMD("getApiVersion", &version)
  if (version < 4) return 2;
  CMD("setKbT", &kbt)
  if (argc > 4 && !strcmp(argv[4], "ranks")) CMD("setMPIComm", NULL)
  CMD("setNatoms", &natoms)
  CMD("setMDEngine", "gromacs")
  CMD("setLogFile", "PLUMED.OUT")
  CMD("setTimestep", &dt)
  CMD("init", NULL)
  for (step = 0; step < 2; step++) {
    float force[6] = {1, 1, 1, 1, 1, 1}, virial[9] = {0};
    CMD("setStepLong", &step)
    CMD("setPositions", x)
    CMD("setMasses", mass)
    CMD("setCharges", charge)
    CMD("setBox", box)
    CMD("prepareCalc", NULL)
    CMD("setStopFlag", &stop)
    CMD("setForces", force)
    CMD("setVirial", virial)
    CMD("performCalc", NULL)
    for (k = 0; k < 6; k++) printf("%.9g ", force[k] - 1);
    for (k = 0; k < 9; k++) printf("%.9g ", virial[k]);
    printf("\n");
  }
  CMD("doCheckPoint", &yes)
  finalize(object);
  return 0;
}
