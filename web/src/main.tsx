// The page: a head with the way to each view and the state of the connection, the view, and what lies over it. Views are
// chosen by the address; see route.ts.

import { render } from 'preact';
import { followEvents } from './events.js';
import { Page } from './page.js';
import './style/colours.css';
import './style/text.css';
import './style/head.css';
import './style/controls.css';
import './style/facts.css';
import './style/rows.css';
import './style/drawn.css';
import './style/over.css';

const root = document.getElementById('page');
if (root === null) throw new Error('index.html has no element with the id page');
render(<Page />, root);
void followEvents();
