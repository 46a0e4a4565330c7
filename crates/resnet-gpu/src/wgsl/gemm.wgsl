// A product of matrices, C[m, n] = sum over k of A[m, k] B[k, n], tile by tile: a group of threads
// brings BK columns of A and rows of B into its memory, each thread multiplies TM rows by four
// columns. Sums run over k in order. What A and B are, `row`, `key`, `a` and `b` say; `finish`
// stores four neighbours.
//
// A's tile lies as [k][m], B's as [k][n / 4].

var<workgroup> tile_a: array<f32, TILE_A>;
var<workgroup> tile_b: array<vec4<f32>, TILE_B>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let part = group.z % p.parts;
    let member = group.z / p.parts;
    let m_first = (group.y / p.n_tiles * groups.x + group.x) * BMu;
    let n_first = group.y % p.n_tiles * BNu;
    let shape = extent(member, part);
    if (m_first >= shape.m) { return; }
    let n_thread = (thread % COLUMNSu) * 4u;
    let m_thread = (thread / COLUMNSu) * TMu;
    DECLARE_SUMS
    DECLARE_ROWS
    for (var k_first = shape.k_first; k_first < shape.k_end; k_first += BKu) {
        LOAD_A
        LOAD_B
        workgroupBarrier();
        for (var k = 0u; k < BKu; k++) {
            let b4 = tile_b[k * COLUMNSu + n_thread / 4u];
            let a_at = k * STRIDE_Au + m_thread;
            MULTIPLY
        }
        workgroupBarrier();
    }
    let n = n_first + n_thread;
    STORE
}
