//! The phases of one training step.

use super::build::Node;
use super::layer::CHUNK;

/// Something done to one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A layer forward.
    Forward(usize),
    /// A layer's sums before it goes forward.
    PartialForward(usize),
    /// The rows of a wide layer's outputs out of its panels.
    Collect(usize),
    /// The loss and its gradient, into gradient buffer 0.
    Loss,
    /// A layer's sums before it goes backward; its gradient is in buffer `from`.
    PartialBackward { node: usize, from: usize },
    /// A layer backward; the gradient of its input goes to the other buffer.
    Backward {
        node: usize,
        from: usize,
        input: bool,
    },
    /// A wide layer's gradient into panels.
    Spread {
        node: usize,
        from: usize,
        input: bool,
    },
    /// The rows of the gradient of a wide layer's input.
    CollectGradient { node: usize, to: usize },
}

/// Something done to a part of the batch or of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The rows of a chunk out of the data.
    Gather(usize),
    /// A layer's packed parameters.
    Pack(usize),
    /// One panel of a wide layer forward.
    Panel { node: usize, panel: usize },
    /// One block of a wide layer backward, with its update.
    Block {
        node: usize,
        block: usize,
        input: bool,
    },
    /// Gradient and update of a wide layer's bias.
    Bias(usize),
    /// The update of a piece of a parameter.
    Piece { param: usize, piece: usize },
    /// Gradient and update of some rows of the embedding.
    Rows {
        param: usize,
        piece: usize,
        from: usize,
    },
    /// A layer's buffers at the end of the step.
    EndStep(usize),
}

/// Tasks with a barrier behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Each does something else.
    Tasks(Vec<Task>),
    /// Every slot's chunks go through the same operations.
    Chunks(Vec<Op>),
}

/// A trained array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub node: usize,
    pub len: usize,
    /// Where its gradient begins in a slot.
    pub at: usize,
}

/// Elements of a piece of a parameter that is updated at a time.
pub(super) const PIECE: usize = 16 * 1024;

/// Most gradient slots: groups of chunks that may run at the same time.
const MOST_SLOTS: usize = 16;

/// Most floats in all slots together, beyond two of them.
const MOST_SLOT_FLOATS: usize = 1 << 24;

/// How many slots the gradients of `chunks` chunks have: fixed by the batch and the network
/// alone, so that sums do not depend on threads.
pub(super) fn slots(chunks: usize, gradient_len: usize) -> usize {
    let room = (MOST_SLOT_FLOATS / gradient_len.max(1)).max(2);
    chunks.min(MOST_SLOTS).min(room).max(1)
}

/// The chunks of slot number `slot`.
pub(super) fn chunks_of(slot: usize, slots: usize, chunks: usize) -> std::ops::Range<usize> {
    slot * chunks / slots..(slot + 1) * chunks / slots
}

/// The first layer with parameters: gradients go no further back.
fn first_trained(nodes: &[Node]) -> usize {
    nodes
        .iter()
        .position(|n| !n.layer().parameters().is_empty())
        .unwrap_or(nodes.len())
}

/// Elements of a piece of the parameter at `place`.
pub(super) fn piece_len(nodes: &[Node], place: &Place) -> usize {
    match &nodes[place.node] {
        // Whole rows, and few tasks: each one scans the numbers of the whole batch.
        Node::Embedding(e) => (2 * PIECE / e.width()).max(1) * e.width(),
        _ => PIECE,
    }
}

/// The phases of a step for batches of up to `batch` samples.
pub(super) fn program(nodes: &[Node], places: &[Place], batch: usize) -> Vec<Phase> {
    let chunks = batch.div_ceil(CHUNK);
    let mut phases = Vec::new();
    let gather = (0..chunks).map(Task::Gather);
    let packed = (0..nodes.len())
        .filter(|&i| matches!(nodes[i], Node::Chunked(_)) && nodes[i].layer().sizes().packed > 0);
    phases.push(Phase::Tasks(gather.chain(packed.map(Task::Pack)).collect()));

    let mut ops = Vec::new();
    let flush = |ops: &mut Vec<Op>, phases: &mut Vec<Phase>| {
        if !ops.is_empty() {
            phases.push(Phase::Chunks(std::mem::take(ops)));
        }
    };
    for (i, node) in nodes.iter().enumerate() {
        if let Node::Wide(wide) = node {
            flush(&mut ops, &mut phases);
            let panels = (0..wide.panels()).map(|panel| Task::Panel { node: i, panel });
            phases.push(Phase::Tasks(panels.collect()));
            ops.push(Op::Collect(i));
            continue;
        }
        if node.layer().sizes().partial_forward > 0 {
            ops.push(Op::PartialForward(i));
            flush(&mut ops, &mut phases);
        }
        ops.push(Op::Forward(i));
    }
    ops.push(Op::Loss);

    let first = first_trained(nodes);
    let mut from = 0;
    let mut last = Vec::new();
    for i in (first..nodes.len()).rev() {
        let input = i > first;
        match &nodes[i] {
            Node::Embedding(_) => {}
            Node::Wide(wide) => {
                ops.push(Op::Spread {
                    node: i,
                    from,
                    input,
                });
                flush(&mut ops, &mut phases);
                let blocks = (0..wide.blocks()).map(|block| Task::Block {
                    node: i,
                    block,
                    input,
                });
                let bias = (nodes[i].layer().parameters().len() > 1).then_some(Task::Bias(i));
                let tasks = blocks.chain(bias);
                if input {
                    phases.push(Phase::Tasks(tasks.collect()));
                    ops.push(Op::CollectGradient { node: i, to: from });
                } else {
                    last.extend(tasks);
                }
            }
            Node::Chunked(layer) => {
                if layer.sizes().partial_backward > 0 {
                    ops.push(Op::PartialBackward { node: i, from });
                    flush(&mut ops, &mut phases);
                }
                ops.push(Op::Backward {
                    node: i,
                    from,
                    input,
                });
                from = 1 - from;
            }
        }
    }
    flush(&mut ops, &mut phases);
    for (param, place) in places.iter().enumerate() {
        let pieces = 0..place.len.div_ceil(piece_len(nodes, place));
        match nodes[place.node] {
            Node::Wide(_) => {}
            Node::Embedding(_) => {
                last.extend(pieces.map(|piece| Task::Rows { param, piece, from }))
            }
            Node::Chunked(_) => last.extend(pieces.map(|piece| Task::Piece { param, piece })),
        }
    }
    let ends = (0..nodes.len()).filter(|&i| !nodes[i].layer().buffers().is_empty());
    last.extend(ends.map(Task::EndStep));
    phases.push(Phase::Tasks(last));
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_cover_all_chunks_in_order() {
        for chunks in 1..70 {
            let n = slots(chunks, 1000);
            let all: Vec<usize> = (0..n).flat_map(|s| chunks_of(s, n, chunks)).collect();
            assert_eq!(all, (0..chunks).collect::<Vec<_>>());
        }
        assert_eq!(slots(64, 1 << 30), 2);
        assert_eq!(slots(1, 10), 1);
    }
}
