// docs.js - opens the viewer on this server's own description; nothing is asked of other servers.

// The viewer sets HTML made from Markdown, which the content policy lets through here only: bare tags
// of text, without attributes; every other < is text.
if (window.trustedTypes) {
  trustedTypes.createPolicy('default', {
    createHTML: (html) => html.replace(/<(?!\/?(?:p|br|em|strong|code|pre|ul|ol|li)>)/gi, '&lt;'),
  })
}

const dark = matchMedia('(prefers-color-scheme: dark)')
const dress = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', dress)
dress()

SwaggerUIBundle({
  url: '/openapi.json',
  domNode: document.getElementById('reference'),
  deepLinking: true,
  docExpansion: 'list',
  validatorUrl: null,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
})
