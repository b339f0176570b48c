// Functions of the C interface, version 30, that wrapper.cpp calls: our own declarations.
#pragma once

extern "C" {
struct DP_DeepPot;
struct DP_DeepBaseModel;
struct DP_DeepPotModelDevi;
struct DP_DeepBaseModelDevi;
struct DP_Nlist;

void DP_DeleteChar(const char*);
const char* DP_ReadFileToChar2(const char* path, int* size);

DP_Nlist* DP_NewNlist(int inum, int* ilist, int* numneigh, int** firstneigh);
DP_Nlist* DP_NewNlist_comm(int inum, int* ilist, int* numneigh, int** firstneigh, int nswap, int* sendnum, int* recvnum, int* firstrecv, int** sendlist,
                           int* sendproc, int* recvproc, void* world, int nprocs);
void DP_NlistSetMask(DP_Nlist*, int);
void DP_NlistSetMapping(DP_Nlist*, int*);
void DP_DeleteNlist(DP_Nlist*);
const char* DP_NlistCheckOK(DP_Nlist*);

double DP_DeepBaseModelGetCutoff(DP_DeepBaseModel*);
int DP_DeepBaseModelGetNumbTypes(DP_DeepBaseModel*);
int DP_DeepBaseModelGetNumbTypesSpin(DP_DeepBaseModel*);
const char* DP_DeepBaseModelGetTypeMap(DP_DeepBaseModel*);
void DP_DeleteDeepBaseModel(DP_DeepBaseModel*);

DP_DeepPot* DP_NewDeepPotWithParam2(const char* name, int gpu_rank, const char* content, int size);
void DP_DeleteDeepPot(DP_DeepPot*);
const char* DP_DeepPotCheckOK(DP_DeepPot*);
double DP_DeepPotGetCutoff(DP_DeepPot*);
const char* DP_DeepPotGetTypeMap(DP_DeepPot*);
int DP_DeepPotGetDimFParam(DP_DeepPot*);
int DP_DeepPotGetDimAParam(DP_DeepPot*);
int DP_DeepPotGetDimChgSpin(DP_DeepPot*);
bool DP_DeepPotIsAParamNAll(DP_DeepPot*);
bool DP_DeepPotHasDefaultFParam(DP_DeepPot*);
void DP_DeepPotSetChargeSpin(DP_DeepPot*, const double*, int);
bool DP_DeepPotSupportsDeviceEdgeInference(DP_DeepPot*);
bool DP_DeepPotUsesFP32EdgeVectors(DP_DeepPot*);
bool DP_DeepPotUsesCanonicalGraphInference(DP_DeepPot*);

DP_DeepPotModelDevi* DP_NewDeepPotModelDeviWithParam(const char** names, int models, int gpu_rank, const char** contents, int n_contents, const int* sizes);
void DP_DeleteDeepPotModelDevi(DP_DeepPotModelDevi*);
const char* DP_DeepPotModelDeviCheckOK(DP_DeepPotModelDevi*);
int DP_DeepPotModelDeviGetDimFParam(DP_DeepPotModelDevi*);
int DP_DeepPotModelDeviGetDimAParam(DP_DeepPotModelDevi*);
int DP_DeepPotModelDeviGetDimChgSpin(DP_DeepPotModelDevi*);
bool DP_DeepPotModelDeviIsAParamNAll(DP_DeepPotModelDevi*);
bool DP_DeepPotModelDeviHasDefaultFParam(DP_DeepPotModelDevi*);
double DP_DeepBaseModelDeviGetCutoff(DP_DeepBaseModelDevi*);
int DP_DeepBaseModelDeviGetNumbTypes(DP_DeepBaseModelDevi*);
int DP_DeepBaseModelDeviGetNumbTypesSpin(DP_DeepBaseModelDevi*);

// Of either number: SYSTEM and OUT are what all have in common.
#define SYSTEM(T) int nframes, int natoms, const T *coord, const int *atype, const T *cell
#define OUT(T) double *energy, T *force, T *virial, T *atomic_energy, T *atomic_virial
#define COMPUTES(T, f)                                                                                                                            \
  void DP_DeepPotCompute##f##2(DP_DeepPot*, SYSTEM(T), const T* fparam, const T* aparam, OUT(T));                                                 \
  void DP_DeepPotCompute##f##3(DP_DeepPot*, SYSTEM(T), const T* fparam, const T* aparam, const T* charge_spin, OUT(T));                           \
  void DP_DeepPotComputeMixedType##f(DP_DeepPot*, SYSTEM(T), const T* fparam, const T* aparam, OUT(T));                                           \
  void DP_DeepPotComputeNList##f##2(DP_DeepPot*, SYSTEM(T), int nghost, const DP_Nlist*, int ago, const T* fparam, const T* aparam, OUT(T));      \
  void DP_DeepPotComputeNList##f##3(DP_DeepPot*, SYSTEM(T), int nghost, const DP_Nlist*, int ago, const T* fparam, const T* aparam,               \
                                    const T* charge_spin, OUT(T));                                                                                \
  void DP_DeepPotModelDeviCompute##f##2(DP_DeepPotModelDevi*, SYSTEM(T), const T* fparam, const T* aparam, OUT(T));                               \
  void DP_DeepPotModelDeviComputeNList##f##2(DP_DeepPotModelDevi*, SYSTEM(T), int nghost, const DP_Nlist*, int ago, const T* fparam,              \
                                             const T* aparam, OUT(T));
COMPUTES(double, )
COMPUTES(float, f)
}

template <class T>
struct Functions;
#define FUNCTIONS(T, f)                                                          \
  template <>                                                                    \
  struct Functions<T> {                                                          \
    static constexpr auto compute = DP_DeepPotCompute##f##2;                     \
    static constexpr auto mixed = DP_DeepPotComputeMixedType##f;                 \
    static constexpr auto listed = DP_DeepPotComputeNList##f##2;                 \
    static constexpr auto deviation = DP_DeepPotModelDeviCompute##f##2;          \
    static constexpr auto listed_deviation = DP_DeepPotModelDeviComputeNList##f##2; \
  };
FUNCTIONS(double, )
FUNCTIONS(float, f)
