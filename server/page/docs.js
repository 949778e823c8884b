// The API reference: the server's own OpenAPI document, shown by Swagger UI. Calls from it carry the page's key.

const form = document.getElementById("key-form");

function withKey(request) {
  const key = sessionStorage.getItem("key") ?? localStorage.getItem("key");
  if (key && !request.headers.Authorization) request.headers.Authorization = `Bearer ${key}`;
  return request;
}

async function show() {
  const key = sessionStorage.getItem("key") ?? localStorage.getItem("key");
  const answer = await fetch("openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  form.hidden = answer.status !== 401;
  if (!answer.ok) {
    document.getElementById("reference").textContent = form.hidden ? `The server answered ${answer.status}.` : "";
    return;
  }
  window.SwaggerUIBundle({
    spec: await answer.json(),
    domNode: document.getElementById("reference"),
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    requestInterceptor: withKey,
    validatorUrl: null,
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", document.getElementById("key").value);
  show();
});
show();
