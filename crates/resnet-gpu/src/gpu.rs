//! The driver's device: buffers, pipelines, and what went wrong.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};

use resnet_engine::exec::{ExecError, OpenError};

/// Bytes of a kernel's constants; every device can begin a binding there.
pub(crate) const RECORD: u64 = 256;

/// Most operands of a kernel: what WebGPU promises.
pub(crate) const OPERANDS: usize = 8;

/// Most groups of threads along one dimension of a launch.
pub(crate) const GROUPS: u32 = 65_535;

/// An opened device of a driver.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    /// For so many operands: constants, then them.
    layouts: Vec<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    /// By text.
    pipelines: Mutex<HashMap<String, Arc<wgpu::ComputePipeline>>>,
    /// What the driver said first of what it could not do.
    failure: Arc<Mutex<Option<String>>>,
}

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
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let name = adapter.get_info().name;
        let opened = wait(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|error| OpenError(format!("{name} cannot be opened: {error}")))?;
        if (limits.max_storage_buffers_per_shader_stage as usize) < OPERANDS
            || limits.max_compute_invocations_per_workgroup < 256
            || limits.max_compute_workgroups_per_dimension < GROUPS
        {
            return Err(OpenError(format!(
                "{name} takes {} arrays and {} threads a group, expected at least {OPERANDS} and \
                 256; use the CPU",
                limits.max_storage_buffers_per_shader_stage,
                limits.max_compute_invocations_per_workgroup
            )));
        }
        let failure = Arc::new(Mutex::new(None));
        let told = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.get_or_insert_with(|| error.to_string());
        }));
        let lost = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                lost.get_or_insert_with(|| format!("the driver lost the device: {message}"));
            }
        });
        let layouts = (0..=OPERANDS).map(|operands| layout(&device, operands)).collect();
        Ok(Gpu { device, queue, limits, layouts, pipelines: Mutex::default(), failure })
    }

    /// The layout of a kernel's bindings.
    pub(crate) fn layout(&self, operands: usize) -> &wgpu::BindGroupLayout {
        &self.layouts[operands].0
    }

    /// The pipeline of a text, made once.
    pub(crate) fn pipeline(&self, text: String, operands: usize) -> Arc<wgpu::ComputePipeline> {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.finish()?;
        let failed = |what: &dyn std::fmt::Display| {
            ExecError::Device(format!("what the device computed cannot be read back: {what}"))
        };
        receive.try_recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let view = staging.slice(..bytes).get_mapped_range().map_err(|error| failed(&error))?;
        Ok(view.to_vec())
    }

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// The device fails.
    pub(crate) fn finish(&self) -> Result<(), ExecError> {
        let done = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        done.map(|_| ()).map_err(|error| ExecError::Device(error.to_string()))
    }

    /// Whether the driver complained.
    ///
    /// # Errors
    /// It did.
    pub(crate) fn check(&self) -> Result<(), ExecError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), |failure| Err(ExecError::Device(failure)))
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
