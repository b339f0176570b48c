// Widths of the model, padded to multiples of 16 (the source defines NP, EP, AP, EC, HEADS, AXIS and the real widths N_DIM, E_DIM, A_DIM),
// and the numbers of rows that a block works on at a time.
#define MP (HEADS * NP)
// Columns of a row of weights that make pre-activations of edges and of angles. Layers that need fewer (wd, wa) have rows as wide.
#define WD (MP + EP)
#define WA (EP + AP)
// Whether products of halves make columns of both uses together (`product_of_two`).
#define EDGES_OF_BOTH (PRODUCTS == F16X3 && MP == 2 * EP)
#define ANGLES_OF_BOTH (PRODUCTS == F16X3 && EP == 2 * AP)
#define MOMENTS (3 * (EP + NP))
#define GRAM (AXIS * (EP + NP))
// Angle edges of a centre from which on two blocks share them (angle.h).
#define SHARED_FROM 28
// Distances of rows in shared memory (PAD, product.h).
#define NPS (NP + PAD)
#define EPS (EP + PAD)
#define APS (AP + PAD)
#define MPS (MP + PAD)
// Of pre-activations of angles and edges.
#define WAS (WA + PAD)
#define WDS (WD + PAD)
#define GRAMS (GRAM + PAD)
// Distance of rows of angle edges' projections as the other edge, in device memory: lanes of a wave read pieces of two rows together, which
// would share banks of the first cache.
#define OTHERS (WA + PAD)
// Numbers of rows that a block keeps in shared memory, chosen by the host for the device (source.rs, `Rows`): R_EDGE and R_EDGE_BACK edges,
// R_SUMS receiving edges with R_ANGLE angles forward, R_OWN of which R_SECOND with R_ANGLE_BACK backward, R_NODE nodes (at most a tile of matrix units). They
// never show in the results.
// Whether angles of the next receiving edges are on their way while a kernel works on others: into a second place in shared memory.
#define AHEAD (TENSOR_CORES && STORE == 0)
// Rows of a product in the registers of a thread, of `rows` in shared memory: as many as divide a thread's share of them.
#if defined(WEIR_HIP)
// More would not fit the registers of gfx90a and gfx942 (clang 19).
#define TR_MOST (sizeof(real) == 4 ? 2 : 1)
#else
#define TR_MOST (sizeof(real) == 4 ? 4 : 2)
#endif
DEVICE constexpr int rows_of_thread(int rows, int most) {
  int share = rows / LANES_R > 1 ? rows / LANES_R : 1;
  while (most > 1 && share % most) most--;
  return most;
}
#define TR_OF(rows) rows_of_thread(rows, TR_MOST)
// Where rows are spread over twice as many groups of threads (products of widths that are no multiple of 64).
#define TR_WIDE(rows) rows_of_thread((rows) / 2, TR_MOST)

// Tiles of 16 rows that a wave of a matrix unit works on with the same weights in its registers: all that a kernel has, but one less where
// that would put a register into memory (angle_forward on sm_100a, NVRTC 12.8).
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 1000
#define TILES_MOST 3
#else
#define TILES_MOST 4
#endif
#define TILES_OF(rows) ((rows) > 16 * TILES_MOST ? TILES_MOST : ((rows) + 15) / 16)

// Numbers that the network sees of an edge, in `geometry`: w, v Na^(-1/4), x, w h Ne^(-1/2) (3).
#define G_W 0
#define G_V 1
#define G_X 2
#define G_H 3
#define G 6
// Adjoints of an edge's geometry in f64: w, h (3), v as the receiving edge of angles, v as the other one of each block's. Apart, because their order among each
// other would depend on how many receiving edges are worked on together.
#define GB 7
