"""Systems that offload experts: what is loaded, what the processor computes, what is loaded ahead."""
