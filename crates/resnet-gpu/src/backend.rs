//! A plan on a GPU: weights that forks share, an arena, and its launches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use resnet_engine::exec::{Backend, ExecError, NoMemory, Rates, Reduce};
use resnet_engine::plan::Plan;
use resnet_engine::step::{Memory, Precision, SlotId, Space};

use crate::gpu::Gpu;
use crate::memory::Pieces;
use crate::op;
use crate::program::{self, Buffers, Program};

/// Multiply-adds of launches that are handed to the driver at once. A device that does 10^11 in a
/// second has them done before its system takes it for hung.
const TOGETHER: u64 = 20_000_000_000;

/// Multiply-adds in the time that a word takes from memory and back.
const WORD: u64 = 4;

/// Steps that are timed at once: a set of queries holds 4096.
const TIMED: usize = 1024;

/// Words of scratch that [`finite`](op::finite) fills at most.
const FINITE: usize = 1024;

/// What numbers are looked at: words of a memory, how many numbers they are, how those are stored.
type Looked = (Memory, Range<usize>, usize, Precision);

/// A plan with its memory on the device.
pub(crate) struct GpuBackend {
    gpu: Arc<Gpu>,
    plan: Arc<Plan>,
    buffers: Buffers,
    program: Program,
    /// Those that look whether words are finite, by the words.
    looks: Mutex<HashMap<Looked, Arc<(Program, u32)>>>,
}

impl GpuBackend {
    /// A plan with weights of its own, zero at first.
    ///
    /// # Errors
    /// The device has not enough memory, or cannot run a step.
    pub(crate) fn new(gpu: Arc<Gpu>, plan: Arc<Plan>) -> Result<GpuBackend, ExecError> {
        let weights = Arc::new(Pieces::new(&gpu, &plan, Memory::Weights)?);
        GpuBackend::on(gpu, plan, weights)
    }

    /// A plan on weights that are there.
    fn on(gpu: Arc<Gpu>, plan: Arc<Plan>, weights: Arc<Pieces>) -> Result<GpuBackend, ExecError> {
        let refusal = plan.steps.iter().find_map(|step| {
            let name = &plan.layer_names[step.layer.0];
            op::refusal(&plan, step).map(|why| format!("layer `{name}`: {why}"))
        });
        if let Some(refusal) = refusal {
            return Err(ExecError::Device(refusal));
        }
        let arena = Pieces::new(&gpu, &plan, Memory::Arena)?;
        let most = gpu.largest_operand();
        let split = |spans: &[SlotId]| program::cut_spans(&plan, &weights, &arena, most, spans);
        let (kernels, scratch) = program::kernels(&plan, &split);
        let none = || NoMemory {
            bytes: 4 * (plan.len() + scratch) as u64,
            batch: plan.options.batch,
            fits: None,
        };
        if scratch > most {
            return Err(none().into());
        }
        let scratch = gpu.storage(4 * scratch.max(FINITE) as u64).ok_or_else(none)?;
        let rates = gpu.storage(16).ok_or_else(none)?;
        let buffers = Buffers { weights, arena, scratch, rates };
        let program = program::make(&gpu, &plan, &kernels, &buffers)?;
        let mut backend = GpuBackend { gpu, plan, buffers, program, looks: Mutex::default() };
        backend.set_rates(Rates { lr: 0.0, scale: 1.0, average: 0.0 });
        Ok(backend)
    }

    /// Whether a step leaves shared weights as they are.
    ///
    /// # Errors
    /// It does not.
    fn may_run(&self, step: usize) -> Result<(), ExecError> {
        let writes = |id: &SlotId| self.plan.slots[id.0].space.memory();
        let changes = self.plan.steps[step].writes.iter().any(|id| writes(id) == Memory::Weights);
        if changes && Arc::strong_count(&self.buffers.weights) > 1 {
            return Err(ExecError::Shared);
        }
        Ok(())
    }

    /// About how long a step takes, in multiply-adds.
    fn cost(&self, step: usize) -> u64 {
        let step = &self.plan.steps[step];
        let words = step.reads.iter().chain(&step.writes).map(|id| self.plan.range(*id).len());
        Plan::macs(&step.kind) + WORD * words.sum::<usize>() as u64
    }

    /// Where a slot's words are.
    fn place(&self, slot: SlotId) -> (&wgpu::Buffer, u64, u64) {
        self.place_of(self.plan.slots[slot.0].space.memory(), &self.plan.range(slot))
    }

    /// Where words of one piece of memory are: buffer, first byte, bytes.
    fn place_of(&self, memory: Memory, range: &Range<usize>) -> (&wgpu::Buffer, u64, u64) {
        let place = self.buffers.pieces(memory).place(range);
        (place.buffer, 4 * place.word as u64, 4 * range.len() as u64)
    }

    /// A slot's words in parts that each lie in one buffer: a span may lie in several.
    fn parts(&self, slot: SlotId) -> Vec<Range<usize>> {
        let pieces = self.buffers.pieces(self.plan.slots[slot.0].space.memory());
        pieces.parts(self.plan.range(slot), usize::MAX)
    }

    /// Whether numbers of a piece of memory are all finite.
    fn finite(
        &self,
        memory: Memory,
        words: Range<usize>,
        len: usize,
        precision: Precision,
    ) -> Result<bool, ExecError> {
        if len == 0 {
            return Ok(true);
        }
        let key = (memory, words, len, precision);
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let look = match looks.get(&key) {
            Some(look) => look.clone(),
            None => {
                let kernel = op::finite(memory, key.1.clone(), len, precision);
                let parts = kernel.groups[0];
                let kernels = [vec![kernel]];
                let made = program::make(&self.gpu, &self.plan, &kernels, &self.buffers)?;
                let look = Arc::new((made, parts));
                looks.insert(key, look.clone());
                look
            }
        };
        drop(looks);
        self.encode(look.0.of_step(0));
        let told = self.gpu.read(&self.buffers.scratch, 0, 4 * u64::from(look.1))?;
        Ok(floats(&told).all(|fine| fine == 1.0))
    }

    /// Runs at most [`TIMED`] steps; the seconds of each by the device's clock.
    fn timed(&self, steps: Range<usize>) -> Result<Vec<f64>, ExecError> {
        let (device, count) = (&self.gpu.device, 2 * steps.len() as u32);
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let bytes = 8 * u64::from(count);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let ticks = self.gpu.buffer(bytes, usage);
        let ticks = ticks.ok_or_else(|| ExecError::Device("no memory for a clock".into()))?;
        let mut encoder = device.create_command_encoder(&Default::default());
        for (i, step) in steps.enumerate() {
            let at = 2 * i as u32;
            let writes = wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(at),
                end_of_pass_write_index: Some(at + 1),
            };
            append(&mut encoder, self.program.of_step(step), Some(writes));
        }
        encoder.resolve_query_set(&queries, 0..count, &ticks, 0);
        self.gpu.queue.submit([encoder.finish()]);
        let ticks = self.gpu.read(&ticks, 0, bytes)?;
        let period = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        let ticks = ticks.as_chunks::<8>().0.iter().map(|tick| u64::from_ne_bytes(*tick));
        let ticks: Vec<u64> = ticks.collect();
        let seconds = |pair: &[u64; 2]| pair[1].saturating_sub(pair[0]) as f64 * period;
        Ok(ticks.as_chunks::<2>().0.iter().map(seconds).collect())
    }

    /// Hands launches to the driver.
    fn encode(&self, launches: &[program::Launch]) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        append(&mut encoder, launches, None);
        self.gpu.queue.submit([encoder.finish()]);
    }
}

/// Appends launches as a pass of their own.
fn append(
    encoder: &mut wgpu::CommandEncoder,
    launches: &[program::Launch],
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) {
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
    let mut pass = encoder.begin_compute_pass(&descriptor);
    launches.iter().for_each(|launch| launch.encode(&mut pass));
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes))
}

/// The upper half of an f32, rounded to the nearest, of two as near to the even one.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 64;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

impl Backend for GpuBackend {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let mut together = 0;
        for index in steps {
            self.may_run(index)?;
            append(&mut encoder, self.program.of_step(index), None);
            together += self.cost(index);
            if together > TOGETHER {
                let next = self.gpu.device.create_command_encoder(&Default::default());
                self.gpu.queue.submit([std::mem::replace(&mut encoder, next).finish()]);
                together = 0;
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.check()
    }

    fn wait(&self) -> Result<(), ExecError> {
        self.gpu.finish()
    }

    fn run_timed(&mut self, steps: Range<usize>) -> Result<Option<Vec<f64>>, ExecError> {
        if !self.gpu.has_clock() {
            return Ok(None);
        }
        let mut times = Vec::with_capacity(steps.len());
        let (mut start, end) = (steps.start, steps.end);
        while start < end {
            let mut next = start;
            let mut together = 0;
            while next < end && next - start < TIMED && together <= TOGETHER {
                self.may_run(next)?;
                together += self.cost(next);
                next += 1;
            }
            times.extend(self.timed(start..next)?);
            start = next;
        }
        Ok(Some(times))
    }

    fn set_rates(&mut self, rates: Rates) {
        let words = [rates.lr, rates.scale, rates.average, 0.0].map(f32::to_ne_bytes);
        self.gpu.queue.write_buffer(&self.buffers.rates, 0, words.as_flattened());
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError> {
        let of = &self.plan.slots[slot.0];
        assert_eq!(from.len(), of.len, "`{}` is of another length", of.name);
        if of.space.memory() == Memory::Weights && Arc::strong_count(&self.buffers.weights) > 1 {
            return Err(ExecError::Shared);
        }
        if of.precision == Precision::Bf16 {
            let halves = from.iter().flat_map(|x| bf16(*x).to_ne_bytes());
            let mut bytes: Vec<u8> = halves.collect();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let (buffer, at, _) = self.place(slot);
            self.gpu.queue.write_buffer(buffer, at, &bytes);
            return self.gpu.check();
        }
        let first = self.plan.range(slot).start;
        for part in self.parts(slot) {
            let bytes: Vec<u8> = from[part.start - first..part.end - first]
                .iter()
                .flat_map(|x| x.to_ne_bytes())
                .collect();
            let (buffer, at, _) = self.place_of(of.space.memory(), &part);
            self.gpu.queue.write_buffer(buffer, at, &bytes);
        }
        self.gpu.check()
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError> {
        let of = &self.plan.slots[slot.0];
        assert_eq!(into.len(), of.len, "`{}` is of another length", of.name);
        if of.precision == Precision::Bf16 {
            let (buffer, at, bytes) = self.place(slot);
            let bytes = self.gpu.read(buffer, at, bytes)?;
            let halves = bytes.as_chunks::<2>().0.iter().map(|half| u16::from_ne_bytes(*half));
            let floats = halves.map(|half| f32::from_bits(u32::from(half) << 16));
            into.iter_mut().zip(floats).for_each(|(into, x)| *into = x);
            return Ok(());
        }
        let first = self.plan.range(slot).start;
        for part in self.parts(slot) {
            let (buffer, at, bytes) = self.place_of(of.space.memory(), &part);
            let bytes = self.gpu.read(buffer, at, bytes)?;
            let into = &mut into[part.start - first..part.end - first];
            into.iter_mut().zip(floats(&bytes)).for_each(|(into, x)| *into = x);
        }
        Ok(())
    }

    fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError> {
        let of = &self.plan.slots[slot.0];
        if what == Reduce::Finite {
            let (memory, range) = (of.space.memory(), self.plan.range(slot));
            return self
                .finite(memory, range, of.len, of.precision)
                .map(|fine| f64::from(u8::from(fine)));
        }
        let mut x = vec![0.0; of.len];
        self.read(slot, &mut x)?;
        let wide = x.iter().map(|&x| f64::from(x));
        Ok(match what {
            Reduce::Finite => unreachable!("it was told before"),
            Reduce::Sum => wide.sum(),
            Reduce::Squares => wide.map(|x| x * x).sum(),
            Reduce::Dead { channels } => {
                let mut alive = vec![false; channels];
                for row in x.chunks(channels) {
                    alive.iter_mut().zip(row).for_each(|(alive, &x)| *alive |= x > 0.0);
                }
                alive.iter().filter(|alive| !**alive).count() as f64
            }
        })
    }

    fn all_finite(&self, space: Space) -> Result<bool, ExecError> {
        let memory = space.memory();
        let pieces = self.buffers.pieces(memory);
        for words in pieces.parts(self.plan.region(space), self.gpu.largest_operand()) {
            let len = words.len();
            if !self.finite(memory, words, len, Precision::F32)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Box<dyn Backend>, ExecError> {
        let plan = plan.unwrap_or_else(|| self.plan.clone());
        if !plan.shares_weights_with(&self.plan) {
            return Err(ExecError::OtherWeights);
        }
        let weights = self.buffers.weights.clone();
        Ok(Box::new(GpuBackend::on(self.gpu.clone(), plan, weights)?))
    }

    // The device computes; how many threads ask it changes nothing.
    fn set_gang(&mut self, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_to_the_nearest_even() {
        let upper = |bits: u32| bf16(f32::from_bits(bits));
        assert_eq!(upper(0x3f80_0000), 0x3f80);
        assert_eq!(upper(0x3f80_8000), 0x3f80);
        assert_eq!(upper(0x3f81_8000), 0x3f82);
        assert_eq!(upper(0x3f80_8001), 0x3f81);
        assert_eq!(upper(0x7f80_0000), 0x7f80);
        assert_eq!(upper(0x7f7f_ffff), 0x7f80);
        assert!(f32::from_bits(u32::from(upper(0x7f80_0001)) << 16).is_nan());
    }
}
