//! A trained network for other classes.

use std::collections::HashSet;

use resnet_formats::Array;

use super::file::{ALIASES, HEADLESS, Model};
use resnet_engine::graph::Graph;
use resnet_engine::op::{self, ShapeError};

impl Model {
    /// The same network for the classes of `graph`, which is of the same network: a head that tells
    /// other classes apart starts at zero, so that all are equally likely at first and its first
    /// gradient is the features'; one for the same classes in the same order stays. What the file
    /// holds beside the network is left behind, and so is what it says of its answers, which will
    /// be others.
    ///
    /// # Errors
    /// The graph cannot read its inputs.
    pub(crate) fn for_classes(
        mut self,
        classes: &[String],
        graph: &Graph,
    ) -> Result<Model, ShapeError> {
        let new_head = self.classes != classes;
        if new_head {
            self.tensors.metadata.remove(ALIASES);
            self.tensors.metadata.remove(HEADLESS);
        }
        self.classes = classes.to_vec();
        self.confidence = None;
        let params = op::all_params(graph, &op::shapes(graph)?);
        let names: HashSet<&str> = params.iter().map(|(_, name, _)| name.as_str()).collect();
        self.tensors.entries.retain(|name, _| names.contains(name.as_str()));
        for (layer, name, param) in &params {
            if new_head && *layer == graph.head() {
                let zeros = vec![0.0; param.len()];
                self.tensors.insert(name.clone(), Array::f32(param.dims.clone(), zeros));
            }
        }
        Ok(self)
    }
}
