import { LabIcon } from '@jupyterlab/ui-components';

/** Three jobs in a row, the first of them on its way. */
export const jobsIcon = new LabIcon({
  name: 'jupyter-trainjob:jobs',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M4 4h12l4 3.5L16 11H4z"/>
    <path d="M4 13h10v2.4H4zM4 17.6h10V20H4z" opacity=".75"/>
  </g>
</svg>`
});
