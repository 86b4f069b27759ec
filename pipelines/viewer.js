// Ours, beside viser's client in its page. Finds the client's state, shows colours as they are (the client maps tones),
// poses what moves, and, in a page of its own (window.TURNABOUT is set there), adds a bar that switches between mesh,
// splats and so on, and a slider of time.
(() => {
  'use strict';
  const PATIENCE = 60_000, SETTLED = 500; // milliseconds that the client may take to start, and to place its camera
  const EXTRAS = 'turnabout', NODE = '/turnabout-time'; // as in _viewer_glb.py and _viewer_time.py

  // The client sorts splats in a worker, from a blob, which browsers do not start in a page that is a file. Where it gets
  // no blob it takes a data URL, which they do.
  if (location.protocol === 'file:') {
    const create = URL.createObjectURL;
    URL.createObjectURL = (thing) => (thing.type?.startsWith('text/javascript') ? '' : create.call(URL, thing));
  }

  // The client can be dark, but only knows what it is told.
  window.__VISER_EMBED_CONFIG__ = { darkMode: matchMedia('(prefers-color-scheme: dark)').matches };

  // The client keeps its state in a React context. It names no way to it, so the component tree is searched.
  function findViewer() {
    const root = document.getElementById('root');
    const key = root && Object.keys(root).find((name) => name.startsWith('__reactContainer$'));
    const queue = key ? [root[key]] : [];
    for (let i = 0; i < queue.length; i++) {
      const fiber = queue[i];
      const state = fiber.memoizedProps?.value?.mutable?.current;
      if (state?.messageQueue && state.scene && state.requestRender) return state;
      if (fiber.child) queue.push(fiber.child);
      if (fiber.sibling) queue.push(fiber.sibling);
    }
    return null;
  }

  function send(viewer, message) {
    viewer.messageQueue.push({ owner: '', ...message });
    viewer.requestRender();
  }

  function show(viewer, name, visible) {
    send(viewer, { type: 'SetSceneNodeVisibilityMessage', name, visible });
  }

  // The keys around a time, and how far the second is reached.
  function between(times, time, step) {
    let after = times.findIndex((key) => key > time);
    if (after < 0) after = times.length;
    const first = Math.max(after - 1, 0), second = Math.min(after, times.length - 1);
    const span = times[second] - times[first];
    return [first, second, step || span <= 0 ? 0 : Math.min(Math.max((time - times[first]) / span, 0), 1)];
  }

  function pose(node, tracks, time) {
    for (const { path, times, values, step } of tracks) {
      const [first, second, share] = between(times, time, step);
      const mixed = values[first].map((value, i) => value + share * (values[second][i] - value));
      if (path === 'translation') node.position.fromArray(mixed);
      if (path === 'scale') node.scale.fromArray(mixed);
      if (path === 'rotation') {
        node.quaternion.fromArray(values[first]).slerp(node.quaternion.clone().fromArray(values[second]), share);
      }
      if (path === 'weights') {
        node.traverse((part) => part.morphTargetInfluences?.splice(0, mixed.length, ...mixed));
      }
    }
  }

  // What a layer wants of a surface that its file cannot say.
  function dress(part) {
    part.frustumCulled = false; // the client knows where it stands, not where it goes
    const look = part.material.userData[EXTRAS];
    if (look === 'wireframe') part.material.wireframe = true;
    if (look === 'normals') {
      const { normal } = part.geometry.attributes;
      const colors = normal.clone();
      colors.array.forEach((value, i) => { colors.array[i] = ((value + 1) / 2) ** 2.2; });
      part.geometry.setAttribute('color', colors);
      part.material.vertexColors = true;
      part.material.needsUpdate = true;
    }
  }

  // Splats' corners have two coordinates, of which three.js cannot tell a sphere around them: they end nowhere.
  function bound({ geometry }) {
    if (geometry.boundingSphere !== null || geometry.attributes.position?.itemSize !== 2) return;
    const empty = new geometry.constructor();
    empty.computeBoundingSphere();
    geometry.boundingSphere = empty.boundingSphere;
    geometry.boundingSphere.radius = Infinity;
  }

  // Poses the meshes of the scene at a time; also those that arrive later.
  function poser(viewer) {
    const posed = new WeakMap(), dressed = new WeakSet();
    return (time) => {
      let changed = false;
      viewer.scene.traverse((node) => {
        if (node.isMesh) bound(node);
        if (node.isMesh && node.material?.userData && !dressed.has(node)) {
          dressed.add(node);
          if (node.isSkinnedMesh || node.material.userData[EXTRAS]) dress(node);
        }
        const tracks = node.userData[EXTRAS];
        if (!Array.isArray(tracks) || posed.get(node) === time) return;
        posed.set(node, time);
        pose(node, tracks, time);
        changed = true;
      });
      return changed;
    };
  }

  // A clip of splats that a page carries; gives the client's buffer at a time.
  async function unpackedClip({ times, count, reach, blends, data }) {
    const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const bytes = await new Response(stream).arrayBuffer();
    const moments = times.map((_, i) => {
      const begin = i * count * 22;
      return [new Uint16Array(bytes, begin, 3 * count), new Uint16Array(bytes, begin + 6 * count, 6 * count),
        new Uint8Array(bytes, begin + 18 * count, 4 * count)];
    });
    moments.slice(1).forEach((parts, i) => parts.forEach((part, kind) => { // stored as differences, which wrap around
      for (let k = 0; k < part.length; k++) part[k] += moments[i][kind][k];
    }));
    return (time) => {
      const [first, second, share] = between(times, time, !blends);
      const [places, others] = [moments[first][0], moments[second][0]];
      const [, spreads, colors] = moments[share < 0.5 ? first : second];
      const buffer = new Uint32Array(8 * count), floats = new Float32Array(buffer.buffer);
      const halves = new Uint16Array(buffer.buffer), small = new Uint8Array(buffer.buffer);
      for (let i = 0; i < count; i++) {
        for (let k = 0; k < 3; k++) {
          const place = places[3 * i + k] + share * (others[3 * i + k] - places[3 * i + k]);
          floats[8 * i + k] = (place / 65535 * 2 - 1) * reach;
        }
        for (let k = 0; k < 6; k++) halves[16 * i + 8 + k] = spreads[6 * i + k];
        for (let k = 0; k < 4; k++) small[32 * i + 28 + k] = colors[4 * i + k];
      }
      return buffer;
    };
  }

  function button(label, title, pressed, act) {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = label;
    made.title = title;
    made.setAttribute('aria-pressed', String(pressed));
    made.addEventListener('click', act);
    return made;
  }

  // The clock of a page of its own: a button and a slider, which drive `tell`.
  function addTime(seconds, tell) {
    const row = document.createElement('div');
    row.className = 'time';
    const slider = Object.assign(document.createElement('input'), {
      type: 'range', min: 0, max: seconds, step: seconds / 1000, value: 0, title: 'Time',
    });
    slider.setAttribute('aria-label', 'Time in seconds');
    const said = document.createElement('output');
    let playing = null, before = 0;
    const set = (time) => {
      slider.value = time;
      said.textContent = `${time.toFixed(2)} s`;
      tell(time);
    };
    const tick = (now) => {
      let time = slider.valueAsNumber + (now - before) / 1000;
      if (time > seconds) time = seconds > 0 ? time % seconds : 0;
      before = now;
      set(time);
      playing = requestAnimationFrame(tick);
    };
    const play = (on) => {
      if (playing !== null) cancelAnimationFrame(playing);
      before = performance.now();
      playing = on ? requestAnimationFrame(tick) : null;
      made.textContent = on ? 'Pause' : 'Play';
    };
    const made = button('Play', 'Key p', false, () => play(playing === null));
    made.removeAttribute('aria-pressed'); // its name says what it does
    slider.addEventListener('input', () => { play(false); set(slider.valueAsNumber); });
    slider.addEventListener('keydown', (event) => event.stopPropagation()); // arrows move it, not the camera
    row.append(made, slider, said);
    set(0);
    play(!matchMedia('(prefers-reduced-motion: reduce)').matches);
    return [row, made];
  }

  function addBar(viewer, { groups, layers, extras, figures }, time) {
    const bar = document.createElement('div');
    bar.id = 'turnabout-bar';
    bar.setAttribute('role', 'toolbar');
    bar.setAttribute('aria-label', 'What is shown');
    const choices = layers.map(({ key, label }, index) => button(label, `Key ${index + 1}`, index === 0, () => {
      layers.forEach((_, other) => {
        choices[other].setAttribute('aria-pressed', String(other === index));
      });
      groups.forEach((group) => {
        // What has no such layer keeps its first, so that it does not go.
        const seen = group.layers.includes(key) ? key : group.layers[0];
        group.layers.forEach((own) => show(viewer, `/${group.name}/${own}`, own === seen));
      });
    }));
    const toggles = extras.map(({ key, label, shown }) => {
      const made = button(label, `Key ${label[0].toLowerCase()}`, shown, () => {
        const on = made.getAttribute('aria-pressed') !== 'true';
        made.setAttribute('aria-pressed', String(on));
        groups.forEach((group) => show(viewer, `/${group.name}/${key}`, on));
      });
      return made;
    });
    bar.append(...choices, ...toggles);
    if (figures.length > 0) {
      const list = document.createElement('dl');
      list.id = 'turnabout-figures';
      list.hidden = true;
      list.tabIndex = 0; // so that keys can scroll it
      for (const [name, value] of figures) {
        list.append(Object.assign(document.createElement('dt'), { textContent: name }));
        list.append(Object.assign(document.createElement('dd'), { textContent: value }));
      }
      const made = button('Figures', 'Key f', false, () => {
        list.hidden = !list.hidden;
        list.style.bottom = `${innerHeight - bar.getBoundingClientRect().top + 8}px`;
        made.setAttribute('aria-pressed', String(!list.hidden));
      });
      toggles.push(made);
      bar.append(made);
      document.body.append(list);
    }
    if (time) {
      bar.prepend(time[0]);
      toggles.push(time[1]);
    }
    document.body.append(bar);
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const index = Number(event.key) - 1;
      const pressed = choices[index] ?? toggles.find((made) => made.title === `Key ${event.key}`);
      if (pressed) pressed.click();
    });
  }

  // Steps back until a window that is higher than wide shows the subject from side to side.
  function fitNarrow({ camera, cameraControl }) {
    if (cameraControl && camera.aspect < 1) cameraControl.dollyTo(cameraControl.distance / camera.aspect, false);
  }

  async function begin(viewer) {
    const page = window.TURNABOUT;
    let clips = [];
    const poseAll = poser(viewer);
    let fitted = false;
    const sent = new Map(); // clip's name -> time
    let time = 0;
    viewer.scene.onBeforeRender = (renderer) => {
      renderer.toneMapping = 0;
      if (!fitted && viewer.camera.fov < 74) { // it is 75 until the scene has said where the camera begins
        fitted = true;
        setTimeout(fitNarrow, SETTLED, viewer); // fov and place come one after the other
      }
      const now = page ? time : viewer.nodePoseData[NODE]?.position[0] ?? 0;
      if (poseAll(now)) viewer.requestRender(); // three.js has placed the bones of this picture already
      for (const [name, at] of clips) {
        if (!viewer.nodeRefFromName[name]?.visible || sent.get(name) === now) continue;
        sent.set(name, now);
        send(viewer, { type: 'SceneNodeUpdateMessage', name, updates: { buffer: at(now) } });
      }
    };
    clips = await Promise.all((page?.clips ?? []).map(async ({ name, ...clip }) => [name, await unpackedClip(clip)]));
    const tell = (now) => { time = now; viewer.requestRender(); };
    viewer.requestRender();
    if (page) addBar(viewer, page, page.seconds > 0 ? addTime(page.seconds, tell) : null);
    document.documentElement.dataset.turnabout = 'ready';
  }

  const since = Date.now();
  const waiting = setInterval(() => {
    const viewer = findViewer();
    if (viewer === null && Date.now() - since < PATIENCE) return;
    clearInterval(waiting);
    if (viewer !== null) begin(viewer); // else another client than the one this was written for: its own scene tree still works
  }, 50);
})();
