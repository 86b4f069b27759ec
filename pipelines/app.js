// The app's page: uploads, asks how far the jobs are, and shows what comes out.
'use strict';
const ASK_EVERY = 1000; // milliseconds
const LABELS = { 'mesh.glb': 'Mesh (.glb)', 'splat.ply': 'Splats (.ply)', 'view.html': 'Page (.html)', 'report.json': 'Report' };
const shown = new Map(); // job's id -> its article
const $ = (id) => document.getElementById(id);

async function api(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { 'X-Turnabout': '1' } });
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `the server answered ${answer.status}`);
  return body;
}

async function upload(files) {
  for (const file of files) {
    $('said').textContent = `Uploading ${file.name} …`;
    try {
      const query = new URLSearchParams({ name: file.name, preset: $('preset').value });
      show(await api(`/api/jobs?${query}`, { method: 'POST', body: file }));
      $('said').textContent = `${file.name} is uploaded.`;
    } catch (error) {
      $('said').textContent = `${file.name}: ${error.message}`;
    }
  }
}

function show(job) {
  let article = shown.get(job.id);
  if (!article) {
    article = $('job').content.cloneNode(true).querySelector('article');
    article.querySelector('h2').textContent = job.name;
    article.querySelector('.remove').addEventListener('click', () => remove(job.id));
    shown.set(job.id, article);
    $('jobs').prepend(article);
  }
  const find = (kind) => article.querySelector(`.${kind}`);
  const running = job.state === 'running';
  const over = ['done', 'failed', 'cancelled'].includes(job.state);
  article.dataset.state = job.state;
  find('state').textContent = job.place === null ? job.state : `waiting, number ${job.place} in the queue`;
  find('remove').textContent = over ? 'Delete' : 'Cancel';
  find('message').textContent = job.message;
  const next = job.stages.findIndex((stage) => stage.seconds === null);
  find('stages').replaceChildren(...job.stages.map(({ name, seconds }, index) => {
    const item = document.createElement('li');
    item.textContent = seconds === null ? name : `${name} ${seconds.toFixed(1)} s`;
    item.className = seconds !== null ? 'done' : running && index === next ? 'now' : '';
    return item;
  }));
  find('notes').replaceChildren(...job.notes.map((note) => Object.assign(document.createElement('li'), { textContent: note })));
  const at = (name) => `/api/jobs/${job.id}/files/${name}`;
  if (job.files.includes('orbit.mp4') && find('orbit').hidden) {
    find('orbit').autoplay = !matchMedia('(prefers-reduced-motion: reduce)').matches;
    find('orbit').src = at('orbit.mp4');
    find('orbit').hidden = false;
  }
  if (job.state === 'done' && find('view').hidden) {
    find('view').src = at('view.html');
    find('view').hidden = false;
    find('files').replaceChildren(...job.files.filter((name) => LABELS[name]).map((name) => {
      const link = document.createElement('a');
      link.href = `${at(name)}?download=true`;
      link.download = '';
      link.textContent = LABELS[name];
      return link;
    }));
  }
}

function forget(id) {
  shown.get(id)?.remove();
  shown.delete(id);
}

async function remove(id) {
  await api(`/api/jobs/${id}`, { method: 'DELETE' }).catch((error) => { $('said').textContent = error.message; });
  forget(id);
}

async function ask() {
  try {
    const jobs = await api('/api/jobs');
    jobs.forEach(show);
    const there = new Set(jobs.map((job) => job.id));
    [...shown.keys()].filter((id) => !there.has(id)).forEach(forget);
    if ($('said').dataset.lost) { $('said').textContent = ''; delete $('said').dataset.lost; }
  } catch (error) {
    $('said').textContent = `No answer from the server (${error.message}); trying again.`;
    $('said').dataset.lost = 'yes';
  }
  setTimeout(ask, ASK_EVERY);
}

$('file').addEventListener('change', () => { upload([...$('file').files]); $('file').value = ''; });
for (const name of ['dragenter', 'dragover']) {
  $('drop').addEventListener(name, (event) => { event.preventDefault(); $('drop').classList.add('over'); });
}
$('drop').addEventListener('dragleave', () => $('drop').classList.remove('over'));
$('drop').addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  upload([...event.dataTransfer.files]);
});
for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault());
ask();
