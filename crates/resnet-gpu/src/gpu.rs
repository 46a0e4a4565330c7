//! The driver's device: buffers, pipelines, and what went wrong.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use resnet_engine::exec::{ExecError, OpenError};

/// Bytes of a kernel's constants; every device can begin a binding there.
pub(crate) const RECORD: u64 = 256;

/// Most operands of a kernel: what WebGPU promises.
pub(crate) const OPERANDS: usize = 8;

/// Most groups of threads along one dimension of a launch.
pub(crate) const GROUPS: u32 = 65_535;

/// Bytes that a kernel can see of one array.
pub(crate) fn binding(limits: &wgpu::Limits) -> u64 {
    limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(i32::MAX as u64 & !255)
}

/// An opened device of a driver.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    /// For so many operands: constants, then them.
    layouts: Vec<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    /// By text.
    pipelines: Mutex<HashMap<String, Arc<wgpu::ComputePipeline>>>,
    failures: Arc<Failures>,
}

/// What went wrong, as the driver says it.
#[derive(Default)]
struct Failures {
    /// Why nothing can be computed any more.
    lost: Mutex<Option<String>>,
    /// What nobody was told of yet.
    last: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long is waited for another thread to tell what it found, before it is looked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// The value of a future that is there at once, as all of them are on a driver of the system.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

impl Gpu {
    /// Opens an adapter with all that it can.
    ///
    /// # Errors
    /// The driver refuses, or has less than WebGPU promises.
    pub(crate) fn open(adapter: &wgpu::Adapter) -> Result<Gpu, OpenError> {
        let mut limits = adapter.limits();
        // Lengths of bindings are signed numbers of 32 bits to some of what is below.
        limits.max_storage_buffer_binding_size = binding(&limits);
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let name = adapter.get_info().name;
        let has = [
            ("arrays of a kernel", limits.max_storage_buffers_per_shader_stage, OPERANDS as u32),
            ("threads of a group", limits.max_compute_invocations_per_workgroup, 256),
            ("groups of a launch", limits.max_compute_workgroups_per_dimension, GROUPS),
        ];
        if let Some((what, has, needs)) = has.into_iter().find(|(_, has, needs)| has < needs) {
            return Err(OpenError(format!(
                "{name} allows {has} {what}, expected at least {needs}; use the CPU"
            )));
        }
        let opened = wait(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|error| OpenError(format!("{name} cannot be opened: {error}")))?;
        let failures = Arc::new(Failures::default());
        let told = failures.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&told.last).get_or_insert_with(|| error.to_string());
        }));
        let told = failures.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let text = || {
                    format!("the driver lost the device, which then computes no more: {message}")
                };
                lock(&told.lost).get_or_insert_with(text);
            }
        });
        let layouts = (0..=OPERANDS).map(|operands| layout(&device, operands)).collect();
        Ok(Gpu { device, queue, limits, layouts, pipelines: Mutex::default(), failures })
    }

    /// Words that a kernel can see of one operand. Some before it are bound as well, where it
    /// begins between two places for that.
    pub(crate) fn largest_operand(&self) -> usize {
        (binding(&self.limits).saturating_sub(1024) / 4) as usize
    }

    /// The layout of a kernel's bindings.
    pub(crate) fn layout(&self, operands: usize) -> &wgpu::BindGroupLayout {
        &self.layouts[operands].0
    }

    /// The pipeline of a text, made once.
    pub(crate) fn pipeline(&self, text: String, operands: usize) -> Arc<wgpu::ComputePipeline> {
        let mut pipelines = lock(&self.pipelines);
        if let Some(pipeline) = pipelines.get(&text) {
            return pipeline.clone();
        }
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(text.as_str().into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&self.layouts[operands].1),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes what it reads of its group's memory.
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        let pipeline = Arc::new(pipeline);
        pipelines.insert(text, pipeline.clone());
        pipeline
    }

    /// A buffer of zeros, or none where there is no memory for it.
    pub(crate) fn buffer(&self, bytes: u64, usage: wgpu::BufferUsages) -> Option<wgpu::Buffer> {
        if bytes > self.limits.max_buffer_size {
            return None;
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.next_multiple_of(RECORD).max(RECORD),
            usage,
            mapped_at_creation: false,
        });
        match wait(scope.pop()) {
            None => Some(buffer),
            Some(_) => None,
        }
    }

    /// A buffer that kernels read and write.
    pub(crate) fn storage(&self, bytes: u64) -> Option<wgpu::Buffer> {
        use wgpu::BufferUsages as Usage;
        self.buffer(bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST)
    }

    /// Whether launches can be timed by the device's clock.
    pub(crate) fn has_clock(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Copies bytes of a buffer to the host, when all that was asked for before is done. Both
    /// numbers are multiples of four.
    ///
    /// # Errors
    /// The device fails.
    pub(crate) fn read(
        &self,
        from: &wgpu::Buffer,
        at: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, ExecError> {
        use wgpu::BufferUsages as Usage;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let staging = self.buffer(bytes, Usage::MAP_READ | Usage::COPY_DST);
        let staging = staging.ok_or_else(|| {
            ExecError::Device(format!("the driver has no {bytes} bytes for what is read back"))
        })?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from, at, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let (send, receive) = mpsc::channel();
        staging.slice(..bytes).map_async(wgpu::MapMode::Read, move |mapped| {
            // Nobody waits for it where waiting failed.
            let _ = send.send(mapped);
        });
        let failed = |what: &dyn std::fmt::Display| {
            ExecError::Device(format!("what the device computed cannot be read back: {what}"))
        };
        // Whoever waits first, on any thread, finds what is done, and tells the others behind that.
        let mapped = loop {
            self.finish()?;
            match receive.recv_timeout(AGAIN) {
                Ok(mapped) => break mapped,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(failed(&error)),
            }
        };
        mapped.map_err(|error| failed(&error))?;
        let view = staging.slice(..bytes).get_mapped_range().map_err(|error| failed(&error))?;
        Ok(view.to_vec())
    }

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// The device fails.
    pub(crate) fn finish(&self) -> Result<(), ExecError> {
        self.finish_within(None)
    }

    /// The same, where it takes no longer than told.
    ///
    /// # Errors
    /// The device fails, or takes longer.
    pub(crate) fn finish_within(&self, timeout: Option<Duration>) -> Result<(), ExecError> {
        self.check()?;
        let wait = wgpu::PollType::Wait { submission_index: None, timeout };
        // It panics where the device is lost meanwhile.
        let done = catch_unwind(AssertUnwindSafe(|| self.device.poll(wait)));
        self.check()?;
        let failed = |what: String| ExecError::Device(format!("the device does not end: {what}"));
        match done {
            Ok(done) => done.map(|_| ()).map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("its driver failed".into())),
        }
    }

    /// Whether the driver complained.
    ///
    /// # Errors
    /// It did.
    pub(crate) fn check(&self) -> Result<(), ExecError> {
        let lost = lock(&self.failures.lost).clone();
        let failure = lost.or_else(|| lock(&self.failures.last).take());
        failure.map_or(Ok(()), |failure| Err(ExecError::Device(failure)))
    }
}

/// Constants at binding 0, operands behind it. All of them may be written, so that parts of one
/// buffer can be operands of one kernel.
fn layout(device: &wgpu::Device, operands: usize) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |binding: usize| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: match binding {
            0 => wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: true,
                min_binding_size: None,
            },
            _ => wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
        },
        count: None,
    };
    let entries: Vec<_> = (0..=operands).map(entry).collect();
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    (bindings, pipeline)
}
