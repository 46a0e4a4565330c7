//! A plan's steps as launches: pipelines, bindings and constants, made once.

use std::ops::Range;
use std::sync::Arc;

use resnet_engine::exec::{ExecError, NoMemory};
use resnet_engine::plan::Plan;
use resnet_engine::step::{Memory, Precision, SlotId};

use crate::gpu::{Gpu, RECORD};
use crate::kernel::{Kernel, Of, Operand};
use crate::memory::Pieces;
use crate::op;

/// What kernels read and write: a plan's two memories, scratch, and the rates of updates.
pub(crate) struct Buffers {
    pub(crate) weights: Arc<Pieces>,
    pub(crate) arena: Pieces,
    pub(crate) scratch: wgpu::Buffer,
    pub(crate) rates: wgpu::Buffer,
}

impl Buffers {
    /// One of the plan's memories.
    pub(crate) fn pieces(&self, memory: Memory) -> &Pieces {
        match memory {
            Memory::Weights => &self.weights,
            Memory::Arena => &self.arena,
        }
    }
}

/// A launch that is ready.
pub(crate) struct Launch {
    pipeline: Arc<wgpu::ComputePipeline>,
    bindings: wgpu::BindGroup,
    record: u32,
    groups: [u32; 3],
}

impl Launch {
    /// Appends it to a pass.
    pub(crate) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[self.record]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Launches, and which of them are whose.
pub(crate) struct Program {
    launches: Vec<Launch>,
    /// The launches of each step.
    steps: Vec<Range<usize>>,
}

impl Program {
    /// The launches of a plan's steps.
    pub(crate) fn of_step(&self, step: usize) -> &[Launch] {
        &self.launches[self.steps[step].clone()]
    }
}

/// The kernels of each step of a plan, and the words of scratch that the largest takes.
pub(crate) fn kernels(plan: &Plan, split: &op::Split) -> (Vec<Vec<Kernel>>, usize) {
    let mut scratch = 0;
    let kernels = plan.steps.iter().map(|step| {
        let launches = op::launches(plan, step, split);
        scratch = scratch.max(launches.scratch);
        launches.kernels
    });
    (kernels.collect(), scratch)
}

/// Spans cut where one of them passes from a piece of memory to the next, or is longer than a
/// kernel can see.
pub(crate) fn cut_spans(
    plan: &Plan,
    weights: &Pieces,
    arena: &Pieces,
    most: usize,
    spans: &[SlotId],
) -> Vec<Range<usize>> {
    let len = plan.slots[spans[0].0].len;
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < len {
        let left = spans.iter().map(|span| {
            let pieces = match plan.slots[span.0].space.memory() {
                Memory::Weights => weights,
                Memory::Arena => arena,
            };
            pieces.left(plan.range(*span).start + start)
        });
        let end = start + left.min().unwrap_or(len).min(most).min(len - start);
        parts.push(start..end);
        start = end;
    }
    parts
}

/// Makes pipelines and bindings of kernels.
///
/// # Errors
/// There is no memory for their constants, or the driver does not take them.
pub(crate) fn make(
    gpu: &Gpu,
    plan: &Plan,
    kernels: &[Vec<Kernel>],
    buffers: &Buffers,
) -> Result<Program, ExecError> {
    let count = kernels.iter().map(Vec::len).sum::<usize>() as u64;
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let constants = gpu.buffer(count * RECORD, usage).ok_or_else(|| {
        let bytes = 4 * plan.len() as u64 + count * RECORD;
        NoMemory { bytes, batch: plan.options.batch, fits: None }
    })?;
    let mut records = Vec::new();
    let (mut launches, mut steps) = (Vec::new(), Vec::new());
    for kernels in kernels {
        let first = launches.len();
        for kernel in kernels {
            let record = records.len() as u32;
            let launch = launch(gpu, plan, kernel, buffers, &constants, record, &mut records);
            launches.push(launch);
        }
        steps.push(first..launches.len());
    }
    gpu.queue.write_buffer(&constants, 0, &records);
    gpu.check()?;
    Ok(Program { launches, steps })
}

/// One launch; its constants are appended to `records`.
fn launch(
    gpu: &Gpu,
    plan: &Plan,
    kernel: &Kernel,
    buffers: &Buffers,
    constants: &wgpu::Buffer,
    record: u32,
    records: &mut Vec<u8>,
) -> Launch {
    let bound: Vec<Bound> =
        kernel.operands.iter().map(|operand| bound(gpu, plan, operand, buffers)).collect();
    let at: Vec<u32> = bound.iter().map(|bound| bound.at).collect();
    records.extend(kernel.record(&at));
    records.resize(record as usize + RECORD as usize, 0);
    let constants =
        wgpu::BufferBinding { buffer: constants, offset: 0, size: wgpu::BufferSize::new(RECORD) };
    let bindings = std::iter::once(constants).chain(bound.iter().map(Bound::binding));
    let entries: Vec<_> = bindings
        .enumerate()
        .map(|(i, binding)| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: wgpu::BindingResource::Buffer(binding),
        })
        .collect();
    let bindings = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: gpu.layout(bound.len()),
        entries: &entries,
    });
    let pipeline = gpu.pipeline(kernel.text(), bound.len());
    Launch { pipeline, bindings, record, groups: kernel.groups }
}

/// A part of a buffer that begins where bindings may, with an operand in it.
struct Bound<'a> {
    buffer: &'a wgpu::Buffer,
    offset: u64,
    bytes: u64,
    /// Numbers before the operand's first.
    at: u32,
}

impl Bound<'_> {
    fn binding(&self) -> wgpu::BufferBinding<'_> {
        let size = wgpu::BufferSize::new(self.bytes);
        wgpu::BufferBinding { buffer: self.buffer, offset: self.offset, size }
    }
}

fn bound<'a>(gpu: &Gpu, plan: &Plan, operand: &Operand, buffers: &'a Buffers) -> Bound<'a> {
    let words = |range: &Range<usize>| match operand.precision {
        Precision::F32 => range.clone(),
        Precision::Bf16 => range.start / 2..range.end.div_ceil(2),
    };
    let (buffer, range) = match &operand.of {
        Of::Slot(slot, numbers) => {
            let (start, part) = (plan.range(*slot).start, words(numbers));
            let range = start + part.start..start + part.end;
            let pieces = buffers.pieces(plan.slots[slot.0].space.memory());
            let place = pieces.place(&range);
            (place.buffer, place.word..place.word + range.len())
        }
        Of::Words(memory, range) => {
            let place = buffers.pieces(*memory).place(range);
            (place.buffer, place.word..place.word + range.len())
        }
        Of::Scratch(range) => (&buffers.scratch, range.clone()),
        Of::Rates => (&buffers.rates, 0..4),
    };
    let align = u64::from(gpu.limits.min_storage_buffer_offset_alignment).max(4);
    let start = 4 * range.start as u64;
    let offset = start / align * align;
    let numbers = 4 / operand.precision.bytes() as u64;
    Bound {
        buffer,
        offset,
        bytes: (4 * range.end as u64 - offset).max(4),
        at: ((start - offset) / 4 * numbers) as u32,
    }
}
