"""Training an adapter: SFT, DPO and KTO with TRL and PEFT."""
