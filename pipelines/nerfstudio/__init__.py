"""What nerfstudio finds through its entry points: our captures as a dataparser, our splats as a method.

Nothing else here imports this package, and it runs in nerfstudio's environment, not in ours: docs/nerfstudio.md.
`dataparser` must not import `method`: nerfstudio loads it while it collects its own methods.
"""
