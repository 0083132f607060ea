"""Models for other programs: ONNX graphs, folders of other libraries, the hub. Never imports learning."""
