"""Generator and discriminator of StyleGAN2 (Karras et al. 2020), by the official tensor names.

Letters: N batch, L layers of w (num_ws), D w_dim, C channels, H = W resolution. Weights are drawn from N(0, 1) and
scaled when used (equalised learning rate), so that one learning rate fits all layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture, resolutions
from pipeline.gan.ops import (
    bias_act,
    conv2d_lrelu,
    conv2d_resample,
    modulated_conv2d,
    modulated_lrelu,
    setup_filter,
    upsample2d,
)

RESAMPLE_TAPS = (1.0, 3.0, 3.0, 1.0)
LRELU_GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU
NOISE_MODES = ("const", "random", "none")
W_AVG_BETA = 0.995  # decay of the running mean of w


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of [N, D] to a mean square of 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precision to float32; leave float64, in which a network may be run to check another's rounding."""
    return x if x.dtype == torch.float64 else x.float()


class FullyConnected(nn.Module):
    """A linear layer, [N, in] → [N, out], with equalised learning rate and an activation."""

    def __init__(
        self, inputs: int, outputs: int, act: str = "linear", lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.act = act
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([outputs], bias_init))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to [N, in]."""
        x = torch.addmm(self.bias, x, self.weight.T, beta=self.bias_gain, alpha=self.weight_gain)
        return bias_act(x, act=self.act)


class MappingNetwork(nn.Module):
    """z (and a condition c) → w. Without z it maps the condition alone, as the discriminator needs.

    The running mean of w, ``w_avg`` [D], is kept when ``num_ws`` is given; it moves only when asked to.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int | None, layers: int) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.layers = z_dim, c_dim, w_dim, num_ws, layers
        if c_dim:
            self.embed = FullyConnected(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim else 0)
        for i in range(layers):
            layer = FullyConnected(width if i == 0 else w_dim, w_dim, act="lrelu", lr_multiplier=0.01)
            self.add_module(f"fc{i}", layer)
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Map latents to w.

        Args:
            z: [N, z_dim], or None where z_dim is 0.
            c: [N, c_dim]; zeros where absent.
            truncation_psi: 1 leaves w as it is, 0 gives the mean.
            truncation_cutoff: how many leading layers are truncated; None for all.
            update_w_avg: move the running mean towards this batch's.

        Returns:
            [N, num_ws, w_dim] float32, or [N, w_dim] when the network has no num_ws.
        """
        parts = [] if z is None else [normalize_2nd_moment(at_least_float32(z))]
        if self.c_dim:
            if c is None:
                c = parts[0].new_zeros(len(parts[0]), self.c_dim)
            parts.append(normalize_2nd_moment(self.embed(at_least_float32(c))))
        x = torch.cat(parts, dim=1)
        for i in range(self.layers):
            x = self.get_submodule(f"fc{i}")(x)
        if update_w_avg:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, W_AVG_BETA))
        if self.num_ws is None:
            return x
        x = x.unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
            x = torch.cat([self.w_avg.lerp(x[:, :cut], truncation_psi), x[:, cut:]], dim=1)
        return x


class SynthesisLayer(nn.Module):
    """Modulated 3×3 convolution, noise, bias, leaky ReLU; upsamples by 2 where ``up`` is 2."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, up: int, clamp: float | None) -> None:
        super().__init__()
        self.up, self.resolution, self.clamp = up, resolution, clamp
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, noise_mode: str, rng: torch.Generator | None) -> Tensor:
        """[N, C, H / up, W / up] and w [N, D] → [N, C', H, W]."""
        noise = None
        if noise_mode == "random":
            shape = [len(x), 1, self.resolution, self.resolution]
            noise = torch.randn(shape, device=x.device, generator=rng) * self.noise_strength
        elif noise_mode == "const":  # the projector puts a map for each sample, [N, 1, H, W], in the place of one
            noise = self.noise_const * self.noise_strength
        clamp = None if self.clamp is None else self.clamp * LRELU_GAIN
        styles = self.affine(w)
        return modulated_lrelu(x, self.weight, styles, noise, self.bias, self.up, self.resample_filter, clamp)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to the image's channels, without demodulation."""

    def __init__(self, inputs: int, img_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(img_channels, inputs, 1, 1))
        self.weight_gain = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.zeros(img_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, C, H, W] and w [N, D] → [N, img_channels, H, W] float32."""
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return bias_act(at_least_float32(x), self.bias, clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: a constant at 4×4, else an upsampling layer; a second layer; the image so far plus ToRGB."""

    resample_filter: Tensor

    def __init__(self, arch: GeneratorArchitecture, index: int) -> None:
        super().__init__()
        width = arch.channels[index]
        self.resolution = 4 * 2**index
        self.dtype: torch.dtype | None = None  # what to compute in; None: what the weights are in
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        if index == 0:
            self.const = nn.Parameter(torch.randn(width, 4, 4))
        else:
            before = arch.channels[index - 1]
            self.conv0 = SynthesisLayer(before, width, arch.w_dim, self.resolution, up=2, clamp=arch.conv_clamp)
        self.conv1 = SynthesisLayer(width, width, arch.w_dim, self.resolution, up=1, clamp=arch.conv_clamp)
        self.torgb = ToRGB(width, arch.img_channels, arch.w_dim, arch.conv_clamp)

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Tensor, noise_mode: str, rng: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Take features and image of the resolution below (None at 4×4) and ws [N, 2 or 3, D]; give this one's."""
        w = iter(ws.unbind(dim=1))
        dtype = self.dtype or self.torgb.weight.dtype
        if x is None:
            x = self.const.to(dtype).unsqueeze(0).expand(len(ws), -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = self.conv0(x.to(dtype), next(w), noise_mode, rng)
        x = self.conv1(x, next(w), noise_mode, rng)
        rgb = self.torgb(x, next(w))
        return x, rgb if img is None else upsample2d(img, self.resample_filter) + rgb


class SynthesisNetwork(nn.Module):
    """w → image. ToRGB of a resolution shares its w with the first layer of the next one."""

    def __init__(self, arch: GeneratorArchitecture) -> None:
        super().__init__()
        self.num_ws = arch.num_ws
        self.block_names = [f"b{r}" for r in resolutions(arch.img_resolution)]
        for index, name in enumerate(self.block_names):
            self.add_module(name, SynthesisBlock(arch, index))

    def forward(self, ws: Tensor, noise_mode: str = "random", rng: torch.Generator | None = None) -> Tensor:
        """Render images.

        Args:
            ws: [N, num_ws, w_dim].
            noise_mode: "const" (the stored noise), "random" (drawn anew) or "none".
            rng: where random noise comes from; None for PyTorch's own generator.

        Returns:
            [N, 3, H, W] float32, nominally in [−1, 1], not clamped.
        """
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode must be one of {', '.join(NOISE_MODES)}, got {noise_mode!r}")
        ws = at_least_float32(ws)
        x = img = None
        first = 0
        for name in self.block_names:
            convs = 1 if x is None else 2
            block = self.get_submodule(name)
            x, img = block(x, img, ws[:, first : first + convs + 1], noise_mode, rng)
            first += convs
        assert img is not None
        return img


class Generator(nn.Module):
    """StyleGAN2's generator: ``mapping`` z → w, ``synthesis`` w → image.

    Attributes:
        architecture: what it is made of.
        precision: what the blocks of the highest resolutions compute in: "fp32", "bf16", "fp16" or "fp64"; set by
            `pipeline.gan.checkpoint.set_precision`.

    Example:
        >>> w = G.mapping(z)                      # [N, num_ws, w_dim]
        >>> x = G.synthesis(w, noise_mode="const")  # [N, 3, H, W], nominally [−1, 1]
    """

    def __init__(self, arch: GeneratorArchitecture) -> None:
        super().__init__()
        self.architecture = arch
        self.precision = "fp32"
        self.z_dim, self.c_dim, self.w_dim = arch.z_dim, arch.c_dim, arch.w_dim
        self.img_resolution, self.img_channels, self.num_ws = arch.img_resolution, arch.img_channels, arch.num_ws
        self.synthesis = SynthesisNetwork(arch)
        self.mapping = MappingNetwork(arch.z_dim, arch.c_dim, arch.w_dim, arch.num_ws, arch.mapping_layers)

    def forward(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, noise_mode: str = "const"
    ) -> Tensor:
        """Map and render: [N, z_dim] → [N, 3, H, W] float32."""
        return self.synthesis(self.mapping(z, c, truncation_psi=truncation_psi), noise_mode=noise_mode)


class ConvLayer(nn.Module):
    """Convolution with equalised learning rate; FIR downsampling if ``down`` is 2, bias and leaky ReLU if ``act``."""

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        down: int = 1,
        act: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.down, self.clamp = down, clamp
        self.padding = kernel // 2
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.weight_gain = 1 / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if act else None

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[N, C, H, W] → [N, C', H / down, W / down], scaled by ``gain``."""
        clamp = None if self.clamp is None else self.clamp * gain
        gain = gain if self.bias is None else gain * LRELU_GAIN
        w = (self.weight * (self.weight_gain * gain)).to(x.dtype)
        f, down, padding = self.resample_filter, self.down, self.padding
        if self.bias is None:
            return conv2d_resample(x, w, f, down=down, padding=padding)
        return conv2d_lrelu(x, w, self.bias * gain, f, down, padding, clamp)


class DiscriminatorBlock(nn.Module):
    """One resolution: two convolutions, the second downsampling, beside a downsampling 1×1 skip."""

    resample_filter: Tensor

    def __init__(self, arch: DiscriminatorArchitecture, index: int) -> None:
        super().__init__()
        width, below, clamp = arch.channels[index], arch.channels[index - 1], arch.conv_clamp
        self.resolution = 4 * 2**index
        self.dtype: torch.dtype | None = None  # what to compute in; None: what the weights are in
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        if index == len(arch.channels) - 1:
            self.fromrgb = ConvLayer(arch.img_channels, width, 1, clamp=clamp)
        self.conv0 = ConvLayer(width, width, 3, clamp=clamp)
        self.conv1 = ConvLayer(width, below, 3, down=2, clamp=clamp)
        self.skip = ConvLayer(width, below, 1, down=2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C', H / 2, W / 2]; the top block takes the image."""
        x = x.to(self.dtype or self.conv0.weight.dtype, memory_format=torch.channels_last)
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        skip = self.skip(x, gain=math.sqrt(0.5))
        return skip + self.conv1(self.conv0(x), gain=math.sqrt(0.5))


def minibatch_std(x: Tensor, group: int, channels: int) -> Tensor:
    """Append the spread within groups of images as ``channels`` constant maps: [N, C, H, W] → [N, C + channels, H, W].

    Groups are strided: with N = 8 and a group of 4, images 0, 2, 4, 6 form one. N must be a multiple of
    min(group, N).
    """
    n, c, h, w = x.shape
    group = min(group, n)
    y = at_least_float32(x).reshape(group, n // group, channels, c // channels, h, w)
    y = (y.var(dim=0, correction=0) + 1e-8).sqrt()  # [N / group, channels, C / channels, H, W]
    y = y.mean(dim=[2, 3, 4]).reshape(-1, channels, 1, 1).repeat(group, 1, h, w)
    return torch.cat([x, y.to(x.dtype)], dim=1)


class DiscriminatorEpilogue(nn.Module):
    """4×4 features → one number per image; with a condition, its projection onto the mapped condition."""

    resample_filter: Tensor

    def __init__(self, arch: DiscriminatorArchitecture) -> None:
        super().__init__()
        width = arch.channels[0]
        self.group, self.channels, self.cmap_dim = arch.mbstd_group, arch.mbstd_channels, arch.cmap_dim
        self.conv = ConvLayer(width + arch.mbstd_channels, width, 3, clamp=arch.conv_clamp)
        self.fc = FullyConnected(width * 16, width, act="lrelu")
        self.out = FullyConnected(width, arch.cmap_dim or 1)

    def forward(self, x: Tensor, cmap: Tensor | None) -> Tensor:
        """[N, C, 4, 4] and the mapped condition [N, cmap_dim] → [N, 1]."""
        if self.channels:
            x = minibatch_std(x, self.group, self.channels)
        x = self.out(self.fc(self.conv(at_least_float32(x)).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """StyleGAN2's discriminator: images [N, 3, H, W] in [−1, 1] → logits [N, 1]; above 0 means "real"."""

    def __init__(self, arch: DiscriminatorArchitecture) -> None:
        super().__init__()
        self.architecture = arch
        self.precision = "fp32"  # as of the generator
        self.c_dim, self.img_resolution, self.img_channels = arch.c_dim, arch.img_resolution, arch.img_channels
        self.block_names = [f"b{r}" for r in reversed(resolutions(arch.img_resolution)[1:])]
        for index, name in zip(range(len(arch.channels) - 1, 0, -1), self.block_names, strict=True):
            self.add_module(name, DiscriminatorBlock(arch, index))
        if arch.c_dim:
            self.mapping = MappingNetwork(0, arch.c_dim, arch.cmap_dim, None, arch.mapping_layers)
        self.b4 = DiscriminatorEpilogue(arch)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:
        """[N, 3, H, W] and, for a conditional network, c [N, c_dim] (zeros where absent) → [N, 1] float32."""
        x = img
        for name in self.block_names:
            x = self.get_submodule(name)(x)
        cmap = None
        if self.c_dim:
            c = img.new_zeros(len(img), self.c_dim) if c is None else c
            cmap = self.mapping(None, c)
        return self.b4(x, cmap)
