//! Networks as text: a row of the catalogue, and options that differ from it.

use super::arch::{Arch, Body};
use super::error::ArchError;
use super::options::OPTIONS;
use super::residual::{Order, Shortcuts};
use super::{catalog, options};

impl Arch {
    /// Reads a network's name and options, `resnet20` or `resnet20:shortcut=B,norm=none`. The order
    /// of options does not matter.
    ///
    /// # Errors
    /// A name, depth, option, value or combination that does not exist.
    pub fn parse(text: &str) -> Result<Arch, ArchError> {
        let (base, list) = text.split_once(':').map_or((text, None), |(b, l)| (b, Some(l)));
        let mut arch = catalog::find(base.trim())?;
        let mut given = Vec::new();
        for part in list.iter().flat_map(|list| list.split(',')) {
            let syntax = || ArchError::Syntax { text: text.into(), part: part.into() };
            let (key, value) = part.split_once('=').ok_or_else(syntax)?;
            let row = options::find(&arch, key.trim())?;
            if given.iter().any(|&(other, _)| other == row) {
                return Err(syntax());
            }
            given.push((row, value.trim()));
        }
        // A later row of the table may undo what an earlier one implies, never the reverse.
        given.sort_by_key(|&(row, _)| row);
        for (row, value) in given {
            options::apply(&mut arch, &OPTIONS[row], value)?;
        }
        arch.check()?;
        Ok(arch)
    }

    /// Sets one option; on an error nothing changes.
    ///
    /// # Errors
    /// An option, value or combination that does not exist.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ArchError> {
        let mut next = self.clone();
        options::apply(&mut next, &OPTIONS[options::find(self, key)?], value)?;
        next.check()?;
        *self = next;
        Ok(())
    }

    /// The text that [`Arch::parse`] reads back to this network: its row, and the options that
    /// differ from the row's.
    pub fn name(&self) -> String {
        let Ok(mut plain) = catalog::find(&self.base) else {
            return self.base.clone();
        };
        let mut list = Vec::new();
        for row in OPTIONS {
            let value = (row.get)(self);
            if let Some(value) = value.filter(|value| Some(value) != (row.get)(&plain).as_ref())
                && (row.set)(&mut plain, &value).is_ok()
            {
                list.push(format!("{}={value}", row.key));
            }
        }
        if list.is_empty() { plain.base } else { format!("{}:{}", plain.base, list.join(",")) }
    }

    /// Refuses options that exclude each other.
    fn check(&self) -> Result<(), ArchError> {
        let Body::Residual(net) = &self.body else {
            return Ok(());
        };
        let reason = if !net.zero_init {
            return Ok(());
        } else if net.shortcuts != Shortcuts::Kept {
            "it has no residual branches; a zero gamma would silence the whole network"
        } else if !self.norm {
            "without batch norm there is no gamma to start at zero; drop norm=none or zero_init"
        } else if net.order == Order::Before {
            "its branches end in a convolution; a zero gamma ahead of ReLU passes no gradient, \
             and the branch would stay silent"
        } else {
            return Ok(());
        };
        Err(ArchError::NotApplicable {
            arch: self.base.clone(),
            key: "zero_init".into(),
            reason: reason.into(),
        })
    }
}
