//! An order of the categories of one feature whose cuts are worth trying.

/// Orders the categories whose class weights are the rows of `table`.
///
/// For two classes: by the share of class 1, whose cuts hold the best of all subsets (Breiman
/// et al. 1984, theorem 4.5). For more: by the first principal component of the class shares
/// (Coppersmith, Hong and Hosking, "Partitioning nominal attributes in decision trees", Data
/// Mining and Knowledge Discovery 3, 1999), a heuristic that is close to the best subset.
pub(crate) fn order_categories(table: &[f64], classes: usize, categories: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..categories).collect();
    if classes < 2 {
        return order;
    }
    let weight: Vec<f64> = (0..categories)
        .map(|c| table[c * classes..(c + 1) * classes].iter().sum())
        .collect();
    let key: Vec<f64> = if classes == 2 {
        (0..categories)
            .map(|c| table[c * 2 + 1] / weight[c])
            .collect()
    } else {
        component(table, classes, &weight)
    };
    order.sort_by(|&a, &b| key[a].total_cmp(&key[b]).then(a.cmp(&b)));
    order
}

/// Orders the categories by their mean target: row by row the weighted sums of all `outputs`,
/// and the weights. Several outputs are ordered along their first principal component.
pub(crate) fn order_by_means(sums: &[f64], weight: &[f64], outputs: usize) -> Vec<usize> {
    let key: Vec<f64> = if outputs == 1 {
        sums.iter().zip(weight).map(|(s, w)| s / w).collect()
    } else {
        component(sums, outputs, weight)
    };
    let mut order: Vec<usize> = (0..weight.len()).collect();
    order.sort_by(|&a, &b| key[a].total_cmp(&key[b]).then(a.cmp(&b)));
    order
}

/// Each category's coordinate along the first principal component of the weighted class
/// shares (or means), by power iteration.
fn component(table: &[f64], classes: usize, weight: &[f64]) -> Vec<f64> {
    let categories = weight.len();
    let total: f64 = weight.iter().sum();
    let mut mean = vec![0.0; classes];
    for row in table.chunks_exact(classes) {
        for (m, w) in mean.iter_mut().zip(row) {
            *m += w / total;
        }
    }
    let mut shares = table.to_vec();
    for (c, row) in shares.chunks_exact_mut(classes).enumerate() {
        for (s, m) in row.iter_mut().zip(&mean) {
            *s = *s / weight[c] - m;
        }
    }
    // Start at the row that lies farthest from the mean, which is never orthogonal to all.
    let norm = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
    let mut start = 0;
    for c in 1..categories {
        let here = norm(&shares[c * classes..(c + 1) * classes]) * weight[c];
        if here > norm(&shares[start * classes..(start + 1) * classes]) * weight[start] {
            start = c;
        }
    }
    let mut axis = shares[start * classes..(start + 1) * classes].to_vec();
    let mut along = vec![0.0; categories];
    for _ in 0..50 {
        let mut next = vec![0.0; classes];
        for (c, row) in shares.chunks_exact(classes).enumerate() {
            along[c] = row.iter().zip(&axis).map(|(a, b)| a * b).sum();
            let scale = along[c] * weight[c] / total;
            for (n, s) in next.iter_mut().zip(row) {
                *n += scale * s;
            }
        }
        let length = norm(&next).sqrt();
        if length <= f64::MIN_POSITIVE {
            break;
        }
        let mut change = 0.0;
        for (a, n) in axis.iter_mut().zip(&next) {
            let new = n / length;
            change += (new - *a) * (new - *a);
            *a = new;
        }
        if change < 1e-20 {
            break;
        }
    }
    along
}
