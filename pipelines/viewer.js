// Ours, beside viser's client in its page. Finds the client's state, shows colours as they are (the client maps tones),
// and, in a page of its own (window.TURNABOUT is set there), adds a bar that switches between mesh, splats and so on.
(() => {
  'use strict';
  const PATIENCE = 60_000; // milliseconds that the client may take to start

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

  function showColoursAsTheyAre(viewer) {
    viewer.scene.onBeforeRender = (renderer) => { renderer.toneMapping = 0; };
    viewer.requestRender();
  }

  function show(viewer, name, visible) {
    viewer.messageQueue.push({ type: 'SetSceneNodeVisibilityMessage', name, visible, owner: '' });
    viewer.requestRender();
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

  function addBar(viewer, { groups, layers, extras, figures }) {
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
      for (const [name, value] of figures) {
        list.append(Object.assign(document.createElement('dt'), { textContent: name }));
        list.append(Object.assign(document.createElement('dd'), { textContent: value }));
      }
      const made = button('Figures', 'Key f', false, () => {
        list.hidden = !list.hidden;
        made.setAttribute('aria-pressed', String(!list.hidden));
      });
      toggles.push(made);
      bar.append(made);
      document.body.append(list);
    }
    document.body.append(bar);
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const index = Number(event.key) - 1;
      const pressed = choices[index] ?? toggles.find((made) => made.title === `Key ${event.key}`);
      if (pressed) pressed.click();
    });
  }

  const since = Date.now();
  const waiting = setInterval(() => {
    const viewer = findViewer();
    if (viewer === null && Date.now() - since < PATIENCE) return;
    clearInterval(waiting);
    if (viewer === null) return; // another client than the one this was written for: its own scene tree still works
    showColoursAsTheyAre(viewer);
    if (window.TURNABOUT) addBar(viewer, window.TURNABOUT);
    document.documentElement.dataset.turnabout = 'ready';
  }, 50);
})();
