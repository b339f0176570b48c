// Widths of the model, padded to multiples of 16 (the source defines NP, EP, AP, EC, HEADS, AXIS and the real widths N_DIM, E_DIM, A_DIM),
// and the numbers of rows that a block works on at a time.
#define MP (HEADS * NP)
#define MOMENTS (3 * (EP + NP))
#define GRAM (AXIS * (EP + NP))
// R_EDGE, R_ANGLE and R_NODE are the numbers of rows that a block keeps in shared memory, multiples of LANES_R (nodes: at most LANES_R);
// the host chooses them for the device. They never show in the results.
// Rows of a product in the registers of a thread.
#if defined(WEIR_HIP)
// More would not fit the registers of gfx90a and gfx942 (clang 19).
#define TR_MOST (sizeof(real) == 4 ? 2 : 1)
#else
#define TR_MOST (sizeof(real) == 4 ? 4 : 2)
#endif
#define TR_EDGE (R_EDGE / LANES_R < TR_MOST ? R_EDGE / LANES_R : TR_MOST)
#define TR_ANGLE (R_ANGLE / LANES_R < TR_MOST ? R_ANGLE / LANES_R : TR_MOST)
// Receiving edges of a centre whose adjoints are worked on together.
#define R_SECOND LANES_R

// Numbers that the network sees of an edge, in `geometry`: w, v Na^(-1/4), x, w h Ne^(-1/2) (3).
#define G_W 0
#define G_V 1
#define G_X 2
#define G_H 3
#define G 6
// Adjoints of an edge's geometry in f64: w, h (3), v as the receiving edge of angles, v as the other. Apart, because their order among each
// other would depend on how many receiving edges are worked on together.
#define GB 6
