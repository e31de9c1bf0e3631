"use strict";

// The page is empty without the description of the API, which takes a key where keys are on. What is typed here is
// kept for as long as this tab is open, and sent to nobody else.
const REMEMBERED = "taskmill.key";

async function start() {
  const key = sessionStorage.getItem(REMEMBERED);
  const answer = await fetch("openapi.json", key ? { headers: { Authorization: `Bearer ${key}` } } : {});
  const body = await answer.json();
  if (answer.ok) {
    show(body, key);
  } else if (answer.status === 401 || answer.status === 403) {
    sessionStorage.removeItem(REMEMBERED);
    askForKey(key ? body.detail : "");
  } else {
    say(body.detail);
  }
}

// The operations stand open in their groups, ready to be tried; the long list of models stays folded.
function show(spec, key) {
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    onComplete: () => key && ui.preauthorizeApiKey("bearer", key),
  });
}

function askForKey(fault) {
  const form = document.getElementById("key");
  form.hidden = false;
  say(fault);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(REMEMBERED, form.elements.key.value.trim());
    location.reload();
  });
}

function say(fault) {
  document.getElementById("fault").textContent = fault;
}

start().catch((error) => say(`The API does not answer: ${error.message}`));
