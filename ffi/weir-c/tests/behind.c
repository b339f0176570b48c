/* A PLUMED kernel that writes down what it is told and adds 100 to the first force and 10 to the first number of the virial. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  void* ptr;
  void (*handler)(void*, int, const char*, const void*);
} nothrow;

static FILE* out;
static int precision;
static float *force, *virial;

void* plumed_plumedmain_create(void) {
  out = fopen(getenv("BEHIND_LOG"), "w");
  return &out;
}

void plumed_plumedmain_cmd(void* self, const char* key, const void* value) {
  (void)self;
  if (!strcmp(key, "setRealPrecision")) fprintf(out, "%s %d\n", key, precision = *(const int*)value);
  else if (strstr(key, "Units") || !strcmp(key, "setKbT") || !strcmp(key, "setTimestep"))
    fprintf(out, "%s %g\n", key, *(const float*)value);
  else if (!strcmp(key, "setPlumedDat")) fprintf(out, "%s %s\n", key, strrchr((const char*)value, '/'));
  else fprintf(out, "%s\n", key);
  if (!strcmp(key, "getApiVersion")) *(int*)(size_t)value = 10;
  if (!strcmp(key, "setForces")) force = (float*)(size_t)value;
  if (!strcmp(key, "setVirial")) virial = (float*)(size_t)value;
  if (!strcmp(key, "performCalc")) force[0] += 100, virial[0] += 10;
}

void plumed_plumedmain_finalize(void* self) {
  (void)self;
  fprintf(out, "finalize\n");
  fclose(out);
}

#ifdef TABLE
static void cmd_nothrow(void* self, const char* key, const void* value, nothrow n) {
  if (getenv("BEHIND_FAILS") && !strcmp(key, getenv("BEHIND_FAILS"))) n.handler(n.ptr, 20100, "no such action", NULL);
  else plumed_plumedmain_cmd(self, key, value);
}

struct {
  int version;
  void* (*create)(void);
  void (*cmd)(void*, const char*, const void*);
  void (*finalize)(void*);
  void (*cmd_nothrow)(void*, const char*, const void*, nothrow);
} plumed_symbol_table = {2, plumed_plumedmain_create, plumed_plumedmain_cmd, plumed_plumedmain_finalize, cmd_nothrow};
#endif
