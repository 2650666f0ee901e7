"""Networks: encoders of timm, the heads of the methods, the small diffusion model."""
