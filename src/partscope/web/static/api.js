// Talking to the server. Every answer is JSON; an error holds one sentence.

export class ApiError extends Error {
  constructor(status, message, current) {
    super(message);
    this.status = status; // 0: the server was not reached
    this.current = current;
  }
}

async function ask(method, path, { body, revision, raw } = {}) {
  const headers = {};
  if (method !== "GET") headers["X-Partscope"] = "1";
  if (revision !== undefined) headers["If-Match"] = `"${revision}"`;
  if (body !== undefined && !raw) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api${path}`, { method, headers, body: raw ? body : body && JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "The server is not reached; is partscope serve still running?");
  }
  let content = {};
  try {
    content = await answer.json();
  } catch {
    if (answer.ok) throw new ApiError(answer.status, "The server's answer cannot be read.");
  }
  if (!answer.ok) throw new ApiError(answer.status, content.error || `The server answers ${answer.status}.`, content.current);
  return content;
}

export const get = (path) => ask("GET", path);
export const put = (path, body, revision) => ask("PUT", path, { body, revision });
export const post = (path, body = {}) => ask("POST", path, { body });
export const upload = (name, file) => ask("POST", `/upload?name=${encodeURIComponent(name)}`, { body: file, raw: true });

export const thumbnail = (id) => `/api/pictures/${id}/thumbnail`;
export const preview = (id) => `/api/pictures/${id}/preview`;

export async function download(path) {
  const answer = await fetch(`/api${path}`);
  if (!answer.ok) {
    const content = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, content.error || `The server answers ${answer.status}.`);
  }
  const name = decodeURIComponent((answer.headers.get("content-disposition") || "").split("''")[1] || "export");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return { name, lost: JSON.parse(answer.headers.get("x-partscope-lost") || "[]") };
}
