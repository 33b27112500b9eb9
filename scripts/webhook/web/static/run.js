// Follows the log of the run that the page shows, and its progress, until it ends.
"use strict";
const log = document.getElementById("log");
const state = document.getElementById("state");
const progress = document.getElementById("progress");
const events = new EventSource(`/runs/${log.dataset.run}/logs`);
const show = (run) => {
  if (!run.status) return;
  state.textContent = run.status;
  state.className = `state ${run.status}`;
  progress.max = run.progress.total || 1;
  progress.value = run.progress.done;
};
let live = false;
events.addEventListener("log", (event) => {
  log.append(`${event.data}\n`);
  log.scrollTop = log.scrollHeight;
});
events.addEventListener("progress", (event) => {
  live = true;
  show(JSON.parse(event.data));
});
events.addEventListener("end", (event) => {
  events.close();
  show(JSON.parse(event.data));
  // The table of nodes is made by the server: shown anew once, when a run that was followed has ended.
  if (live) location.reload();
});
