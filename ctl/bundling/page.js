'use strict';
// A page in one module: shown in a sandboxed frame, or handed out where there is no document.
const meta = __META__;
const html = __HTML__;

function show(context) {
  const container = context?.root ?? document.getElementById(meta.containerId) ?? document.body;
  const frame = document.createElement('iframe');
  frame.title = meta.name;
  frame.setAttribute('sandbox', 'allow-scripts allow-forms allow-popups');
  frame.style.cssText = 'display:block;width:100%;border:0';
  frame.srcdoc = html;
  function resize(event) {
    if (event.source === frame.contentWindow && event.data?.type === 'stark:resize') {
      frame.style.height = `${Math.ceil(event.data.height)}px`;
    }
  }
  addEventListener('message', resize);
  container.append(frame);
  return new Promise((done) => {
    context?.onShutdown?.(() => {
      removeEventListener('message', resize);
      frame.remove();
      done();
    });
  });
}

module.exports = { meta, html, default: (context) => (typeof document === 'undefined' ? html : show(context)) };
