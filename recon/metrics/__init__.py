"""How good is it: measures of pictures and of meshes after the project's protocol (`docs/evaluation.md`)."""
