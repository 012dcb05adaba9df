//! What the engine asks of the sums of targets.

use ironlearn_kernels::cells::{Cell, Places};

/// Weight and impurity of a node.
pub(super) type Side = (f64, f64);

/// The sums of one node and of its cuts, and those of the nodes that wait.
pub(super) trait Sums: Sized + Send {
    /// Groups of all nodes that wait.
    fn groups(&self) -> u32;

    /// Weight of all nodes that wait.
    fn waiting_weight(&self) -> f64;

    /// The sums of the waiting node that has been put there last, on their own.
    fn detach(&mut self, groups: u32) -> Self;

    /// Turns to rows that are numbered within a block of these rows of the data.
    fn enter_block(&mut self, rows: &[u32]);

    /// Turns back to rows of the data.
    fn leave_block(&mut self);

    /// Turns to the node that was put to wait last; returns its weight and impurity.
    fn enter(&mut self, groups: u32) -> Side;

    /// Writes what the node predicts.
    fn value(&self, out: &mut [f64]);

    /// Reads what cuts are scored with; `rows` are the node's.
    fn prepare(&mut self, rows: &Places);

    /// The score of the cut whose left side has the cells of at most `cut`, if it is allowed.
    fn score<C: Cell>(&mut self, cells: &[C], cut: C) -> Option<f64>;

    /// Keeps the cut that was scored last as the best.
    fn keep(&mut self);

    /// Lets the children of the best cut wait, the right one first. Returns weight and impurity
    /// of the left and of the right one, and how many groups each has.
    fn split<C: Cell>(&mut self, cells: &[C], cut: C) -> [(Side, u32); 2];

    /// Forgets the children that were put to wait last.
    fn drop_children(&mut self, groups: u32);
}
