# Loads a scene that Godot imported, says what it found, and leaves. Run by test_glb_clients.py in a project of its own:
# godot --path PROJECT -s godot_client.gd
extends SceneTree


func _init():
	var scene = load("res://asset.glb")
	if scene == null:
		print("GODOT ", to_json({"failed": true}))
		quit(1)
		return
	var found = {"meshes": []}
	visit(scene.instance(), Transform(), found)
	print("GODOT ", to_json(found))
	quit(0)


func visit(node, above, found):
	var place = above * node.transform if node is Spatial else above
	if node is MeshInstance:
		var box = place.xform(node.mesh.get_aabb())
		var surfaces = []
		for index in range(node.mesh.get_surface_count()):
			var material = node.mesh.surface_get_material(index)
			var texture = material.albedo_texture
			surfaces.append({
				"indices": node.mesh.surface_get_array_index_len(index),
				"texture": [texture.get_width(), texture.get_height()] if texture else null,
			})
		found["meshes"].append({
			"name": node.name,
			"low": [box.position.x, box.position.y, box.position.z],
			"high": [box.end.x, box.end.y, box.end.z],
			"surfaces": surfaces,
		})
	for child in node.get_children():
		visit(child, place, found)
