//! The options of one step, as they come from Python.

use super::layer::{activation, invalid};
use crate::error::Result;
use ironlearn_kernels::gemm::Activation;

/// One option's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// A name.
    Text(String),
    /// Several whole numbers.
    Ints(Vec<i64>),
}

/// The options of step number `layer`.
///
/// Each is taken out once; what is left over at the end is unknown, and refused.
#[derive(Clone, Debug)]
pub struct Options {
    /// The step's number.
    pub layer: usize,
    /// The step's kind.
    pub kind: &'static str,
    values: Vec<(String, Value)>,
}

impl Options {
    /// Options of a step.
    pub fn new(layer: usize, kind: &'static str, values: Vec<(String, Value)>) -> Self {
        Options {
            layer,
            kind,
            values,
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.values.iter().position(|(n, _)| n == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn wrong<T>(&self, name: &'static str, given: Option<&Value>, expected: &str) -> Result<T> {
        let given = given.map_or("nothing".into(), |v| format!("{v:?}"));
        Err(invalid(self.layer, self.kind, name, &given, expected))
    }

    /// A whole number of at least `least`.
    pub fn count(&mut self, name: &'static str, least: usize) -> Result<usize> {
        match self.take(name) {
            Some(Value::Int(n)) if n >= least as i64 => Ok(n as usize),
            other => self.wrong(
                name,
                other.as_ref(),
                &format!("an integer of at least {least}"),
            ),
        }
    }

    /// The same, or a default.
    pub fn count_or(&mut self, name: &'static str, least: usize, or: usize) -> Result<usize> {
        if self.has(name) {
            self.count(name, least)
        } else {
            Ok(or)
        }
    }

    /// Whether the option is given.
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _)| n == name)
    }

    /// A finite number, or a default.
    pub fn number_or(&mut self, name: &'static str, or: f64) -> Result<f64> {
        match self.take(name) {
            None => Ok(or),
            Some(Value::Int(n)) => Ok(n as f64),
            Some(Value::Float(x)) if x.is_finite() => Ok(x),
            other => self.wrong(name, other.as_ref(), "a finite number"),
        }
    }

    /// True or false, or a default.
    pub fn flag_or(&mut self, name: &'static str, or: bool) -> Result<bool> {
        match self.take(name) {
            None => Ok(or),
            Some(Value::Flag(flag)) => Ok(flag),
            other => self.wrong(name, other.as_ref(), "true or false"),
        }
    }

    /// A name, or a default.
    pub fn text_or(&mut self, name: &'static str, or: &str) -> Result<String> {
        match self.take(name) {
            None => Ok(or.into()),
            Some(Value::Text(text)) => Ok(text),
            other => self.wrong(name, other.as_ref(), "a name"),
        }
    }

    /// An activation, linear by default.
    pub fn activation(&mut self) -> Result<Activation> {
        let name = self.text_or("activation", "linear")?;
        activation(self.layer, self.kind, &name)
    }

    /// Whole numbers of at least `least`, `count` of them if that is not 0.
    pub fn counts(&mut self, name: &'static str, count: usize, least: usize) -> Result<Vec<usize>> {
        match self.take(name) {
            Some(Value::Ints(all))
                if (count == 0 || all.len() == count) && all.iter().all(|&n| n >= least as i64) =>
            {
                Ok(all.into_iter().map(|n| n as usize).collect())
            }
            other => self.wrong(
                name,
                other.as_ref(),
                &format!("{count} integers of at least {least}"),
            ),
        }
    }

    /// Two whole numbers, or a default.
    pub fn pair_or(
        &mut self,
        name: &'static str,
        least: usize,
        or: (usize, usize),
    ) -> Result<(usize, usize)> {
        if !self.has(name) {
            return Ok(or);
        }
        let pair = self.counts(name, 2, least)?;
        Ok((pair[0], pair[1]))
    }

    /// Padding as (top, bottom, left, right), none by default.
    pub fn padding(&mut self) -> Result<[usize; 4]> {
        if !self.has("padding") {
            return Ok([0; 4]);
        }
        let p = self.counts("padding", 4, 0)?;
        Ok([p[0], p[1], p[2], p[3]])
    }

    /// Refuses what no one asked for.
    pub fn end(self) -> Result<()> {
        match self.values.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(
                self.layer,
                self.kind,
                "options",
                &format!("{name:?}"),
                "options that this kind of layer has",
            )),
        }
    }
}
