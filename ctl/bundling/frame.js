// Runs first in the frame of a page: gives it the address, the history and the files that a frame does not have.
(() => {
  const files = __FILES__;
  const location = new URL('http://pack.invalid/');
  const entries = [{ state: null, url: location.href }];
  let at = 0;

  function go(url) {
    location.href = new URL(url, location.href).href;
  }

  const history = {
    scrollRestoration: 'auto',
    get length() { return entries.length; },
    get state() { return entries[at].state; },
    pushState(state, _title, url) {
      if (url !== undefined && url !== null) go(url);
      entries.splice(++at, entries.length, { state, url: location.href });
    },
    replaceState(state, _title, url) {
      if (url !== undefined && url !== null) go(url);
      entries[at] = { state, url: location.href };
    },
    go(steps = 0) {
      const target = at + steps;
      if (!steps || target < 0 || target >= entries.length) return;
      at = target;
      go(entries[at].url);
      setTimeout(() => dispatchEvent(new PopStateEvent('popstate', { state: entries[at].state })));
    },
    back() { this.go(-1); },
    forward() { this.go(1); },
  };
  const place = Object.assign(Object.create(null), {
    assign(url) { history.pushState(null, '', url); dispatchEvent(new PopStateEvent('popstate', { state: null })); },
    replace(url) { history.replaceState(null, '', url); dispatchEvent(new PopStateEvent('popstate', { state: null })); },
    reload() {},
    toString() { return location.href; },
  });
  for (const name of ['href', 'origin', 'protocol', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']) {
    Object.defineProperty(place, name, {
      get: () => location[name],
      set: (value) => { if (name === 'href') place.assign(value); else location[name] = value; },
    });
  }

  // A frame without an origin has no storage, and reading it throws.
  const kept = () => {
    const values = new Map();
    return {
      getItem: (key) => values.get(String(key)) ?? null,
      setItem: (key, value) => void values.set(String(key), String(value)),
      removeItem: (key) => void values.delete(String(key)),
      clear: () => values.clear(),
      key: (index) => [...values.keys()][index] ?? null,
      get length() { return values.size; },
    };
  };
  const ours = { location: place, history, localStorage: kept(), sessionStorage: kept() };
  const bound = new Map();
  const __starkWindow = new Proxy(window, {
    get(target, name) {
      if (name in ours) return ours[name];
      if (name === 'window' || name === 'self' || name === 'globalThis') return __starkWindow;
      const value = Reflect.get(target, name);
      if (typeof value !== 'function' || 'prototype' in value) return value;
      if (!bound.has(value)) bound.set(value, value.bind(target));
      return bound.get(value);
    },
    set(target, name, value) {
      return Reflect.set(target, name, value);
    },
  });
  window.__starkWindow = __starkWindow;

  function file(url) {
    const found = new URL(String(url?.url ?? url), location.href);
    return found.origin === location.origin || found.protocol === 'about:' ? files[found.pathname] : undefined;
  }
  const fetch = window.fetch.bind(window);
  window.fetch = (request, options) => fetch(file(request) ?? request, file(request) ? undefined : options);

  // Addresses are replaced before anything is asked for; what a text of HTML brings is replaced a moment later.
  const addresses = new Set(['src', 'href', 'poster']);
  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    const data = addresses.has(name) && this.tagName !== 'A' ? file(value) : undefined;
    return setAttribute.call(this, name, data ?? value);
  };
  const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, 'src');
  Object.defineProperty(HTMLImageElement.prototype, 'src', {
    ...source,
    set(url) { source.set.call(this, file(url) ?? url); },
  });

  // What is put into the page later: pictures become data, and chunks' preloads have been there all along.
  const append = Node.prototype.appendChild;
  Node.prototype.appendChild = function (node) {
    if (node instanceof HTMLLinkElement && /modulepreload|preload|stylesheet/.test(node.rel)) {
      setTimeout(() => node.dispatchEvent(new Event('load')));
      return node;
    }
    return append.call(this, node);
  };
  function settle(element) {
    for (const name of addresses) {
      const url = element.getAttribute?.(name);
      const data = url && element.tagName !== 'A' && !url.startsWith('data:') ? file(url) : undefined;
      if (data) element.setAttribute(name, data);
    }
  }
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === 'attributes') settle(change.target);
      for (const node of change.addedNodes) {
        if (node.nodeType !== 1) continue;
        settle(node);
        node.querySelectorAll('[src],[href],[poster]').forEach(settle);
      }
    }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['src', 'href', 'poster'] });

  // Links stay in the page instead of leaving the frame.
  addEventListener('vite:preloadError', (event) => event.preventDefault());
  const tell = () => parent.postMessage({ type: 'stark:resize', height: document.documentElement.scrollHeight }, '*');
  addEventListener('load', () => {
    tell();
    new ResizeObserver(tell).observe(document.documentElement);
  });
})();
