//! The forward pass of a few samples: units in the lanes, weights as they are.
//!
//! A group of sixteen samples costs the same however many it holds, so fewer than
//! [`few_rows`]'s limit go through here. Products run over the rows of the weight matrix, a
//! stream through memory that needs no packing.

use super::{Cell, Shape};
use crate::tier::Tier;
use crate::tiered;
use crate::vmath::{Lanes, sigmoid, tanh};

/// Most samples that [`few_rows`] takes.
pub const FEW: usize = 4;

/// One step of a few samples.
pub struct FewRows<'a> {
    /// Cell and widths.
    pub shape: Shape,
    /// features x columns.
    pub w: &'a [f32],
    /// units x columns.
    pub u: &'a [f32],
    /// Biases of the columns.
    pub b: &'a [f32],
    /// The GRU's biases of the products with the state.
    pub bu: Option<&'a [f32]>,
    /// Features of each sample, samples x features.
    pub x: &'a [&'a [f32]],
    /// State of each sample, samples x units; becomes the new one.
    pub state: &'a mut [f32],
    /// The LSTM's cell state, as `state`; empty otherwise.
    pub cell: &'a mut [f32],
    /// Room for `2 * samples * columns` elements.
    pub scratch: &'a mut [f32],
}

/// Takes the step for at most [`FEW`] samples.
pub fn few_rows(tier: Tier, step: FewRows) {
    let FewRows {
        shape,
        w,
        u,
        b,
        bu,
        x,
        state,
        cell,
        scratch,
    } = step;
    let (h, columns, samples) = (shape.units, shape.columns(), x.len());
    assert!(samples <= FEW && state.len() == samples * h);
    assert!(x.iter().all(|x| x.len() == shape.features));
    assert!(w.len() == shape.features * columns && u.len() == h * columns);
    assert!(b.len() == columns && bu.is_none_or(|bu| bu.len() == columns));
    assert!(shape.cell != Cell::Lstm || cell.len() == samples * h);
    assert!(scratch.len() >= 2 * samples * columns);
    let (features, products) = scratch[..2 * samples * columns].split_at_mut(samples * columns);
    for part in features.chunks_exact_mut(columns) {
        part.copy_from_slice(b);
    }
    match bu {
        Some(bu) => products
            .chunks_exact_mut(columns)
            .for_each(|p| p.copy_from_slice(bu)),
        None => products.fill(0.0),
    }
    let mut pointers = [std::ptr::null(); FEW];
    for (pointer, x) in pointers.iter_mut().zip(x) {
        *pointer = x.as_ptr();
    }
    multiply(tier, samples, &pointers, w, columns, features);
    for (n, pointer) in pointers.iter_mut().enumerate().take(samples) {
        *pointer = state[n * h..].as_ptr();
    }
    multiply(tier, samples, &pointers, u, columns, products);
    for n in 0..samples {
        let range = n * columns..(n + 1) * columns;
        let raw = Gates {
            features: features[range.clone()].as_ptr(),
            products: products[range].as_ptr(),
            state: state[n * h..].as_mut_ptr(),
            cell: if cell.is_empty() {
                std::ptr::null_mut()
            } else {
                cell[n * h..].as_mut_ptr()
            },
            units: h,
        };
        match shape.cell {
            Cell::Lstm => lstm(tier, &raw),
            Cell::Gru => gru(tier, &raw),
            Cell::Tanh => with_tanh(tier, &raw),
            Cell::Relu => with_relu(tier, &raw),
        }
    }
}

fn multiply(
    tier: Tier,
    samples: usize,
    x: &[*const f32; FEW],
    w: &[f32],
    columns: usize,
    out: &mut [f32],
) {
    let raw = Multiply {
        x: *x,
        w: w.as_ptr(),
        rows: w.len() / columns.max(1),
        columns,
        out: out.as_mut_ptr(),
    };
    match samples {
        1 => multiply_1(tier, &raw),
        2 => multiply_2(tier, &raw),
        3 => multiply_3(tier, &raw),
        4 => multiply_4(tier, &raw),
        _ => {}
    }
}

struct Multiply {
    x: [*const f32; FEW],
    w: *const f32,
    rows: usize,
    columns: usize,
    out: *mut f32,
}

tiered! {
    fn multiply_1(raw: &Multiply) = multiply_1_body;
    fn multiply_2(raw: &Multiply) = multiply_2_body;
    fn multiply_3(raw: &Multiply) = multiply_3_body;
    fn multiply_4(raw: &Multiply) = multiply_4_body;
}

macro_rules! bodies {
    ($($name:ident $n:literal)*) => {$(
        #[inline(always)]
        unsafe fn $name<V: Lanes>(raw: &Multiply) {
            // SAFETY: the caller's promise.
            unsafe { multiply_body::<V, $n>(raw) }
        }
    )*};
}
bodies! { multiply_1_body 1 multiply_2_body 2 multiply_3_body 3 multiply_4_body 4 }

#[inline(always)]
unsafe fn multiply_body<V: Lanes, const S: usize>(raw: &Multiply) {
    let whole = raw.rows / 4 * 4;
    // SAFETY: `few_rows` has checked the lengths; rows up to `whole` go four at a time.
    unsafe {
        for k in (0..whole).step_by(4) {
            some_rows::<V, S, 4>(raw, k);
        }
        for k in whole..raw.rows {
            some_rows::<V, S, 1>(raw, k);
        }
    }
}

/// Adds `K` rows of weights times their factors to the sums of `S` samples.
#[inline(always)]
unsafe fn some_rows<V: Lanes, const S: usize, const K: usize>(raw: &Multiply, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut x = [[V::splat(0.0); K]; S];
        for s in 0..S {
            for k in 0..K {
                x[s][k] = V::splat(*raw.x[s].add(first + k));
            }
        }
        let w = raw.w.add(first * raw.columns);
        let whole = raw.columns / V::WIDTH * V::WIDTH;
        for at in (0..whole).step_by(V::WIDTH) {
            let mut row = [V::splat(0.0); K];
            for k in 0..K {
                row[k] = V::load(w.add(k * raw.columns + at));
            }
            for s in 0..S {
                let to = raw.out.add(s * raw.columns + at);
                let mut sum = V::load(to);
                for k in 0..K {
                    sum = x[s][k].mul_add(row[k], sum);
                }
                sum.store(to);
            }
        }
        let rest = raw.columns - whole;
        if rest > 0 {
            for s in 0..S {
                let to = raw.out.add(s * raw.columns + whole);
                let mut sum = V::load_part(to, rest);
                for k in 0..K {
                    let row = V::load_part(w.add(k * raw.columns + whole), rest);
                    sum = x[s][k].mul_add(row, sum);
                }
                sum.store_part(to, rest);
            }
        }
    }
}

struct Gates {
    features: *const f32,
    products: *const f32,
    state: *mut f32,
    cell: *mut f32,
    units: usize,
}

tiered! {
    fn lstm(raw: &Gates) = lstm_body;
    fn gru(raw: &Gates) = gru_body;
    fn with_tanh(raw: &Gates) = tanh_body;
    fn with_relu(raw: &Gates) = relu_body;
}

/// Calls `f` with the first unit of each register and how many units it has.
#[inline(always)]
fn registers<V: Lanes>(units: usize, mut f: impl FnMut(usize, usize)) {
    for at in (0..units).step_by(V::WIDTH) {
        f(at, (units - at).min(V::WIDTH));
    }
}

#[inline(always)]
unsafe fn load<V: Lanes>(from: *const f32, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if count == V::WIDTH {
            V::load(from)
        } else {
            V::load_part(from, count)
        }
    }
}

#[inline(always)]
unsafe fn lstm_body<V: Lanes>(raw: &Gates) {
    registers::<V>(raw.units, |at, count| {
        // SAFETY: `few_rows` has checked the lengths.
        unsafe {
            let sum = |g: usize| {
                let place = g * raw.units + at;
                load::<V>(raw.features.add(place), count)
                    .add(load::<V>(raw.products.add(place), count))
            };
            let before = load::<V>(raw.cell.add(at), count);
            let (i, f) = (sigmoid(sum(0)), sigmoid(sum(1)));
            let (g, o) = (tanh(sum(2)), sigmoid(sum(3)));
            let cell = f.mul_add(before, i.mul(g));
            cell.store_part(raw.cell.add(at), count);
            o.mul(tanh(cell)).store_part(raw.state.add(at), count);
        }
    });
}

#[inline(always)]
unsafe fn gru_body<V: Lanes>(raw: &Gates) {
    registers::<V>(raw.units, |at, count| {
        // SAFETY: `few_rows` has checked the lengths.
        unsafe {
            let part = |from: *const f32, g: usize| load::<V>(from.add(g * raw.units + at), count);
            let old = load::<V>(raw.state.add(at), count);
            let z = sigmoid(part(raw.features, 0).add(part(raw.products, 0)));
            let r = sigmoid(part(raw.features, 1).add(part(raw.products, 1)));
            let n = tanh(r.mul_add(part(raw.products, 2), part(raw.features, 2)));
            z.mul_add(old.sub(n), n)
                .store_part(raw.state.add(at), count);
        }
    });
}

#[inline(always)]
unsafe fn tanh_body<V: Lanes>(raw: &Gates) {
    registers::<V>(raw.units, |at, count| {
        // SAFETY: `few_rows` has checked the lengths.
        unsafe {
            let sum =
                load::<V>(raw.features.add(at), count).add(load::<V>(raw.products.add(at), count));
            tanh(sum).store_part(raw.state.add(at), count);
        }
    });
}

#[inline(always)]
unsafe fn relu_body<V: Lanes>(raw: &Gates) {
    registers::<V>(raw.units, |at, count| {
        // SAFETY: `few_rows` has checked the lengths.
        unsafe {
            let sum =
                load::<V>(raw.features.add(at), count).add(load::<V>(raw.products.add(at), count));
            V::splat(0.0).max(sum).store_part(raw.state.add(at), count);
        }
    });
}
