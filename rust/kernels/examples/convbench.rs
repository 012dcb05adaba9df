use ironlearn_kernels::buffer::Buffer;
use ironlearn_kernels::convpool::*;
use ironlearn_kernels::gemm::Activation;
use ironlearn_kernels::tier;
use std::time::Instant;

fn best(mut f: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..200 {
        let t = Instant::now();
        f();
        least = least.min(t.elapsed().as_secs_f64());
    }
    least * 1e6
}

fn noise(n: usize, seed: u32) -> Buffer {
    let mut b = Buffer::zeros(n);
    let mut s = seed;
    for v in b.iter_mut() {
        s = s.wrapping_mul(1664525).wrapping_add(1013904223);
        *v = (s >> 8) as f32 / (1 << 24) as f32 - 0.5;
    }
    b
}

fn pool(name: &str, t: tier::Tier, shape: Shape, n: usize) {
    let c = ConvPool::new(t, shape, Activation::Relu, n);
    let mut s = Buffer::zeros(c.scratch_len());
    let x = noise(n * shape.input_len(), 1);
    let w = noise(shape.weights_len(), 2);
    let b = noise(shape.filters, 3);
    let mut gy = noise(n * c.pooled_len(), 4);
    let mut y = noise(n * c.pooled_len(), 5);
    let mut am = vec![0u8; y.len()];
    let mut packed = Buffer::zeros(c.packed_len());
    let mut turned = Buffer::zeros(c.turned_len());
    let p = best(|| c.pack(&w, Some(&b), &mut packed));
    let p2 = best(|| c.turn(&w, &mut turned));
    let f = best(|| c.forward(&x, &packed, &mut y, &mut am, &mut s));
    let mut gw = noise(w.len(), 6);
    let mut gb = noise(b.len(), 7);
    let mut gx = noise(x.len(), 8);
    let bw = best(|| c.backward(&x, &y, &am, &mut gy, &mut gw, Some(&mut gb), None, &mut s));
    let bx = best(|| {
        c.backward(
            &x,
            &y,
            &am,
            &mut gy,
            &mut gw,
            Some(&mut gb),
            Some((&mut gx, &turned)),
            &mut s,
        )
    });
    let zeros = y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64;
    let gf = 2.0 * (c.pooled_len() * 4 * shape.patch_len() * n) as f64 / f / 1e3;
    println!(
        "{name} {t:?} pack {p:.1} turn {p2:.1} fwd {f:.1} ({gf:.0} GF) dW {bw:.1} dX {:.1}  zeros {zeros:.2}",
        bx - bw
    );
}

fn conv(name: &str, t: tier::Tier, shape: Shape, n: usize, act: Activation) {
    let c = Conv::new(t, shape, act, n);
    let mut s = Buffer::zeros(c.scratch_len());
    let x = noise(n * shape.input_len(), 1);
    let w = noise(shape.weights_len(), 2);
    let b = noise(shape.filters, 3);
    let mut gy = noise(n * shape.output_len(), 4);
    let mut y = noise(n * shape.output_len(), 5);
    let mut packed = Buffer::zeros(c.packed_len());
    let mut turned = Buffer::zeros(c.turned_len());
    let p = best(|| c.pack(&w, Some(&b), &mut packed));
    let p2 = best(|| c.turn(&w, &mut turned, &mut s));
    let f = best(|| c.forward(&x, &packed, &mut y, &mut s));
    let mut gw = noise(w.len(), 6);
    let mut gb = noise(b.len(), 7);
    let mut gx = noise(x.len(), 8);
    let bw = best(|| c.backward(&x, &y, &mut gy, &mut gw, Some(&mut gb), None, &mut s));
    let bx = best(|| {
        c.backward(
            &x,
            &y,
            &mut gy,
            &mut gw,
            Some(&mut gb),
            Some((&mut gx, &turned)),
            &mut s,
        )
    });
    let fl = 2.0 * (shape.output_len() * shape.patch_len() * n) as f64 / 1e3;
    println!(
        "{name} {t:?} pack {p:.1} turn {p2:.1} fwd {f:.1} ({:.0} GF) dW {bw:.1} ({:.0}) dX {:.1} ({:.0})",
        fl / f,
        fl / bw,
        bx - bw,
        fl / (bx - bw)
    );
}

fn main() {
    let n: usize = std::env::args().nth(1).map_or(16, |v| v.parse().unwrap());
    for t in tier::supported().into_iter().rev() {
        pool("conv1", t, Shape::valid([28, 28, 1], [3, 3], 32), n);
        pool("conv2", t, Shape::valid([13, 13, 32], [3, 3], 64), n);
        conv(
            "conv3",
            t,
            Shape::valid([5, 5, 64], [3, 3], 64),
            n,
            Activation::Relu,
        );
        let same = |c, f| Shape {
            padding: [[1, 1], [1, 1]],
            ..Shape::valid([28, 28, c], [3, 3], f)
        };
        conv("den1", t, same(1, 32), n, Activation::Relu);
        conv("den2", t, same(32, 32), n, Activation::Relu);
        conv("den3", t, same(32, 1), n, Activation::Linear);
    }
}
